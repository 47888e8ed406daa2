// What is the output of a token whose visited rows and activations are known? y = sum of activation * W2[row].
//
// A block takes a token and 32 * FFF_OUT_VECTOR columns; its warps share the visits, and their sums are added at the end.
// b2 of the leaf form (FFF_B2 2) has a row for each leaf, of which leaf (batch, trees) says those that a token reaches.
#include "common.cuh"

#ifndef FFF_OUT_VECTOR
#define FFF_OUT_VECTOR kVector  // columns of a lane
#endif
#ifndef FFF_WARPS
#define FFF_WARPS 8
#endif

constexpr int kOut = FFF_OUT_VECTOR;
constexpr int kColumns = kWarp * kOut;
constexpr int kChunks = ceil_div(kD, kColumns);
constexpr int kAtOnce = 8;  // rows in flight of a warp
static_assert(kWarp % kAtOnce == 0, "the last places of a warp's visits are read in whole");

extern "C" __global__ void __launch_bounds__(FFF_WARPS * kWarp)
fff_split_sum(const scalar* __restrict__ w2, const int2* __restrict__ visits, scalar* __restrict__ y, int count
#if FFF_B2 == 2
              , const int* __restrict__ leaf, int trees, int leaves
#endif
              FFF_IF_B2(, const scalar* __restrict__ b2)) {
    __shared__ float partial[FFF_WARPS][kColumns + 1];
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const i64 token = blockIdx.x / kChunks;
    const int column = int(blockIdx.x % kChunks) * kColumns + lane * kOut;
    const scalar* from = w2 + (column < kD ? column : 0);
    float sums[kOut];
#pragma unroll
    for (int i = 0; i < kOut; ++i) sums[i] = 0.0f;
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
    const int each = ceil_div(count, FFF_WARPS), end = min(count, (warp + 1) * each);
    for (int base = warp * each; base < end; base += kWarp) {
        const int many = min(kWarp, end - base);
        const int2 visit = lane < many ? __ldcg(visits + token * count + base + lane) : make_int2(0, 0);
        for (int j = 0; j < many; j += kAtOnce) {  // a place past the end adds 0 times row 0
            Vector<kOut> v[kAtOnce];
            float activation[kAtOnce];
#pragma unroll
            for (int k = 0; k < kAtOnce; ++k) {
                const int row = __shfl_sync(0xffffffffu, visit.x, j + k);
                activation[k] = __int_as_float(__shfl_sync(0xffffffffu, visit.y, j + k));
                if (j + k < many) v[k].load(from + i64(row) * kD);
                else v[k].clear();
            }
#pragma unroll
            for (int k = 0; k < kAtOnce; ++k) {
                float w[kOut];
                v[k].widen(w);
#pragma unroll
                for (int i = 0; i < kOut; ++i) sums[i] += activation[k] * w[i];
            }
        }
    }
#pragma unroll
    for (int i = 0; i < kOut; ++i) partial[warp][lane * kOut + i] = sums[i];
    __syncthreads();
    for (int c = threadIdx.x; c < kColumns; c += FFF_WARPS * kWarp) {
        float sum = 0.0f;
#pragma unroll
        for (int w = 0; w < FFF_WARPS; ++w) sum += partial[w][c];
        const int at = int(blockIdx.x % kChunks) * kColumns + c;
#if FFF_B2 == 2
        for (int tree = 0; tree < trees && at < kD; ++tree)
            sum += bias_of(b2, (i64(tree) * leaves + __ldcg(leaf + token * trees + tree)) * kD + at);
#elif FFF_B2
        if (at < kD) sum += bias_of(b2, at);
#endif
        if (at < kD) y[token * kD + at] = to_scalar(sum);
    }
}
