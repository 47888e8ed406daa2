// How do CUDA cores walk a subtree whose rows lie in shared memory? A warp takes two tokens through it at once.
//
// fp32 without tf32 has no tensor cores to lean on. What binds is shared memory: one row of W1 a token and level, 128
// bytes a clock and multiprocessor. Two tokens a warp hide the latency of one another's reductions.
#pragma once
#include "common.cuh"

#if FFF_DTYPE != 0 || !FFF_ALIGNED
#error "the shared-memory kernels are for aligned fp32"
#endif
#ifndef FFF_TOP
#define FFF_TOP 7  // levels of the first kernel
#endif
#ifndef FFF_HELD
#define FFF_HELD 6  // those of them whose rows are in shared memory; the others are read from L2
#endif
#ifndef FFF_BOTTOM
#define FFF_BOTTOM 5  // levels of the second
#endif
#ifndef FFF_BLOCK
#define FFF_BLOCK 512
#endif

constexpr int kBlock = FFF_BLOCK;
constexpr int kWarps = kBlock / kWarp;
constexpr int kPieces = ceil_div(kD, kWarp * 4);  // float4 that a lane holds of a row
constexpr int kMaxTop = 8;
constexpr int kSubtrees = 1 << FFF_TOP;

struct Row {
    float4 piece[kPieces];

    __device__ __forceinline__ void read(const float* row) {  // shared or global
        const int lane = threadIdx.x % kWarp;
#pragma unroll
        for (int p = 0; p < kPieces; ++p) {
            const int column = (p * kWarp + lane) * 4;
            const bool inside = (p + 1) * kWarp * 4 <= kD || column < kD;
            piece[p] = inside ? *reinterpret_cast<const float4*>(row + column) : make_float4(0, 0, 0, 0);
        }
    }
    __device__ __forceinline__ float dot(const float* row) const {
        const int lane = threadIdx.x % kWarp;
        float even = 0.0f, odd = 0.0f;
#pragma unroll
        for (int p = 0; p < kPieces; ++p) {
            const int column = (p * kWarp + lane) * 4;
            if ((p + 1) * kWarp * 4 <= kD || column < kD) {
                const float4 w = *reinterpret_cast<const float4*>(row + column);
                even += piece[p].x * w.x;
                odd += piece[p].y * w.y;
                even += piece[p].z * w.z;
                odd += piece[p].w * w.w;
            }
        }
        return even + odd;
    }
};

// The sums of a and b over the warp, for all lanes, in 7 shuffles.
__device__ __forceinline__ void warp_sum2(float& a, float& b) {
    const bool upper = threadIdx.x & 16;
    float kept = upper ? b : a;
    kept += __shfl_xor_sync(0xffffffffu, upper ? a : b, 16);
#pragma unroll
    for (int offset = 8; offset > 0; offset /= 2) kept += __shfl_xor_sync(0xffffffffu, kept, offset);
    a = __shfl_sync(0xffffffffu, kept, 0);
    b = __shfl_sync(0xffffffffu, kept, 16);
}

// Start copying row `from` (kD floats of global memory) to shared memory; the whole block takes part.
__device__ __forceinline__ void copy_row(float* to, const float* from) {
    for (int i = threadIdx.x; i < kD / 4; i += kBlock)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(u32(__cvta_generic_to_shared(to + i * 4))),
                     "l"(from + i * 4)
                     : "memory");
}
__device__ __forceinline__ void finish_copies() {
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncthreads();
}
