// What is the output of the tokens of one leaf, whose activations leaf_hidden.cu left? y = H . W2_block, by wgmma.
//
// A block takes a tile of tokens of one leaf and kOut columns of y. Rows of H are gathered, rows of W2 are read in the order
// of H's columns.
#include "leaf_lists.cuh"
#include "wgmma.cuh"

#ifndef FFF_CHUNK
#define FFF_CHUNK 64  // as in leaf_hidden.cu
#endif
#ifndef FFF_OUT
#define FFF_OUT 64  // columns of y of a block, 64 or 128
#endif

constexpr int kChunks = ceil_div(kWidth, FFF_CHUNK);
constexpr int kDeep = kChunks * FFF_CHUNK;  // of the product
constexpr int kSteps = kDeep / kSlice;
constexpr int kOut = FFF_OUT;
constexpr int kParts = ceil_div(kD, kOut);
constexpr u32 kTokenBytes = kTile * kSliceBytes, kStageBytes = kTokenBytes + kSlice * kOut * 2;
static_assert(kStages >= 4, "a stage is free again two steps after its use");
static_assert(FFF_CHUNK % kSlice == 0, "a step lies in one chunk");

extern "C" __global__ void __launch_bounds__(kThreads)
fff_leaf_output(const scalar* __restrict__ hidden, const scalar* __restrict__ w2, scalar* __restrict__ y,
                const int* __restrict__ lists, int* __restrict__ counts, int batch
                FFF_IF_B2(, const scalar* __restrict__ b2)) {
    extern __shared__ unsigned char shared[];
    __shared__ int rows[kTile], found[3];
    const int lane = threadIdx.x % kWarp;
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
    if (threadIdx.x == 0) found[0] = -1;
    __syncthreads();
    if (threadIdx.x < kWarp) find_leaf(counts, blockIdx.x / kParts, found);
    __syncthreads();
    // counts has kLeaves counters and one of finished blocks: the last block clears all for the next call.
    if (threadIdx.x == 0 && atomicAdd(&counts[kLeaves], 1) == int(gridDim.x) - 1)
        for (int s = 0; s <= kLeaves; ++s) counts[s] = 0;
    const int leaf = found[0], start = found[1], count = found[2], first = blockIdx.x % kParts * kOut;
    if (leaf < 0) return;
    const scalar* block = w2 + i64(leaf) * kWidth * kD;
    for (int r = threadIdx.x; r < kTile; r += kThreads)
        rows[r] = __ldcg(lists + i64(leaf) * batch + min(start + r, count - 1));
    __syncthreads();

    const u32 stages = (shared_address(shared) + 1023) & ~1023u;
    const int part = threadIdx.x % 8;
    auto copy = [&](int step) {
        if (step < kSteps) {
            const u32 stage = stages + step % kStages * kStageBytes;
#pragma unroll
            for (int r = threadIdx.x / 8; r < kTile; r += kThreads / 8)
                asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(stage + swizzled(r, part)),
                             "l"(hidden + i64(rows[r]) * kDeep + step * kSlice + part * 8) : "memory");
#pragma unroll
            for (int i = threadIdx.x / 8; i < kSlice * (kOut / 64); i += kThreads / 8) {
                const int r = i % kSlice, side = i / kSlice;  // row of H's column, and which 64 columns of y
                const int place = step * kSlice + r, slot = place % FFF_CHUNK / 32 * 8 + place % 8;
                const int neuron = place / FFF_CHUNK * FFF_CHUNK + slot / 2 * 8 + place % 32 / 8 * 2 + slot % 2;
                const int column = first + side * 64 + part * 8;
                const bool real = column < kD;  // a neuron that is not there is activated by 0
                asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(stage + kTokenBytes + side * 8192 +
                                                                                  swizzled(r, part)),
                             "l"(block + i64(min(neuron, kWidth - 1)) * kD + (real ? column : 0)), "r"(real ? 16 : 0)
                             : "memory");
            }
        }
        commit();
    };
#pragma unroll
    for (int s = 0; s < kStages - 2; ++s) copy(s);
    float sums[kOut / 2];
#if FFF_B2
    start_sums(sums, [&](int column) { return first + column < kD ? bias_of(b2, i64(leaf) * kD + first + column) : 0.0f; });
#endif
#pragma unroll 1
    for (int s = 0; s < kSteps; ++s) {
        await<kStages - 3>();
        wgmma_visible();
        __syncthreads();
        copy(s + kStages - 2);
        const u32 stage = stages + s % kStages * kStageBytes;
        const u64 a = slice_descriptor(stage + threadIdx.x / 128 * 64 * kSliceBytes);
        const u64 b = rows_descriptor(stage + kTokenBytes);
        pin(sums);
        wgmma_fence();
#pragma unroll
        for (int k = 0; k < kSlice / 16; ++k) Wgmma<kOut>::template multiply<1>(sums, a + 2 * k, b + 128 * k, FFF_IF_B2(true ||) s > 0 || k > 0);
        wgmma_commit();
        pin(sums);
        wgmma_wait<1>();
    }
    wgmma_wait<0>();
    pin(sums);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int r = threadIdx.x / kWarp * 16 + half * 8 + lane / 4;
#pragma unroll
        for (int c = 0; c < kOut / 32; ++c) {
            u32 v[4];
#pragma unroll
            for (int j = 0; j < 4; ++j) v[j] = pack2(sums[4 * (4 * c + j) + 2 * half], sums[4 * (4 * c + j) + 2 * half + 1]);
            transpose_quad(v);
            const int column = first + c * 32 + lane % 4 * 8;
            if (start + r < count && column < kD)
                __stcs(reinterpret_cast<uint4*>(y + i64(rows[r]) * kD + column), make_uint4(v[0], v[1], v[2], v[3]));
        }
    }
}
