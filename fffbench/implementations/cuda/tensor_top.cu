// Which subtree does each token enter, and with which activations? The top FFF_TOP levels for all tokens at once.
//
// The logits of all 2**FFF_TOP - 1 top nodes are one GEMM; each token then walks its levels over finished logits,
// stores its activations (16 bytes) and joins the list of its subtree. Lists hold tokens in no fixed order; a
// token's result does not depend on its place.
#include "tensor.cuh"

constexpr int kColumns = columns_of(FFF_TOP);
constexpr int kSubtrees = 1 << FFF_TOP;
using Top = Logits<kColumns>;
static_assert(FFF_TOP <= kMaxTop, "activations of a token must fit one 16-byte store");

extern "C" __global__ void __launch_bounds__(kThreads, kTile == 64 ? 3 : 1)
fff_tensor_top(const scalar* __restrict__ x, const scalar* __restrict__ w1, uint4* __restrict__ activations,
               int* __restrict__ lists, int* __restrict__ counts, int batch) {
    extern __shared__ __align__(128) unsigned char shared[];
    __shared__ int rows[Top::kRows];
    __shared__ int members[kSubtrees], base[kSubtrees];
    const int token0 = blockIdx.x * kTile;
    for (int r = threadIdx.x; r < Top::kRows; r += kThreads)
        rows[r] = r < kTile ? min(token0 + r, batch - 1) : min(r - kTile, kSubtrees - 2);
    for (int s = threadIdx.x; s < kSubtrees; s += kThreads) members[s] = 0;
    __syncthreads();

    Top top;
    top.begin(x, w1, rows);
    const u32 stages = shared_address(shared);
#pragma unroll
    for (int s = 0; s < kStages - 1; ++s) {
        if (s < kSlices) top.copy(stages + s * Top::kStageBytes, s);
        commit();
    }
    for (int s = 0; s < kSlices; ++s) {
        await<kStages - 2>();
        __syncthreads();
        const int next = s + kStages - 1;
        if (next < kSlices) top.copy(stages + next % kStages * Top::kStageBytes, next);
        commit();
        top.multiply(stages + s % kStages * Top::kStageBytes);
    }
    __syncthreads();
    float* logits = reinterpret_cast<float*>(shared);  // over the stages, which are spent
    top.write(logits);
    __syncthreads();
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif

    const bool live = int(threadIdx.x) < kTile && token0 + int(threadIdx.x) < batch;
    int subtree = 0, place = 0;
    if (live) {
        const float* mine = logits + threadIdx.x * Top::kStride;
        float act[kMaxTop];
        int node = 0;
#pragma unroll
        for (int l = 0; l < kMaxTop; ++l) {
            act[l] = 0.0f;
            if (l < FFF_TOP) {
                const float z = mine[node];
                act[l] = gelu(z);
                node = 2 * node + 1 + (z > 0.0f);
            }
        }
        subtree = node - (kSubtrees - 1);
        place = atomicAdd(&members[subtree], 1);
        activations[token0 + threadIdx.x] = make_uint4(pack2(act[0], act[1]), pack2(act[2], act[3]),
                                                       pack2(act[4], act[5]), pack2(act[6], act[7]));
    }
    __syncthreads();
    for (int s = threadIdx.x; s < kSubtrees; s += kThreads)
        if (members[s] > 0) base[s] = atomicAdd(&counts[s], members[s]);
    __syncthreads();
    if (live) lists[i64(subtree) * batch + base[subtree] + place] = token0 + threadIdx.x;
}
