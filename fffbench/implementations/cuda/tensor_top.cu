// Which subtree does each token enter, and with which activations? The top FFF_TOP levels for all tokens at once.
//
// The logits of all 2**FFF_TOP - 1 top nodes are one GEMM; each token then walks its levels over finished logits,
// stores its activations (16 bytes) and joins the list of its subtree. Lists hold tokens in no fixed order; a
// token's result does not depend on its place. Several trees stand side by side in the GEMM's columns; activations, lists
// and counts of a tree follow those of the tree before.
#include "tensor.cuh"

#ifndef FFF_TREES
#define FFF_TREES 1
#endif

constexpr int kSubtrees = 1 << FFF_TOP;
constexpr int kAll = FFF_TREES * kSubtrees;
constexpr int kColumns = ceil_div(kAll, 32) * 32;  // two warps share them, sixteens each
constexpr int kTreeNodes = (1 << (FFF_TOP + FFF_BOTTOM)) - 1;
constexpr int kWalks = ceil_div(kTile * FFF_TREES, kThreads);  // of a thread
using Top = Logits<kColumns>;
static_assert(FFF_TOP <= kMaxTop, "activations of a token must fit one 16-byte store");

extern "C" __global__ void __launch_bounds__(kThreads, kTile == 64 ? 3 : 1)
fff_tensor_top(const scalar* __restrict__ x, const scalar* __restrict__ w1, uint4* __restrict__ activations,
               int* __restrict__ lists, int* __restrict__ counts, int batch
               FFF_IF_B1(, const scalar* __restrict__ b1)) {
    extern __shared__ __align__(128) unsigned char shared[];
    __shared__ int rows[Top::kRows];
    __shared__ int members[kAll], base[kAll];
    const int token0 = blockIdx.x * kTile;
    for (int r = threadIdx.x; r < Top::kRows; r += kThreads)
        if (r < kTile) {
            rows[r] = min(token0 + r, batch - 1);
        } else {
            const int tree = min((r - kTile) / kSubtrees, FFF_TREES - 1);
            rows[r] = tree * kTreeNodes + min((r - kTile) % kSubtrees, kSubtrees - 2);
        }
    for (int s = threadIdx.x; s < kAll; s += kThreads) members[s] = 0;
    __syncthreads();

    Top top;
    top.begin(x, w1, rows FFF_IF_B1(, b1));
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

    int subtree[kWalks], place[kWalks];  // among all trees' subtrees; -1: no walk
#pragma unroll
    for (int w = 0; w < kWalks; ++w) {
        const int walk = int(threadIdx.x) + w * kThreads, tree = walk / kTile, token = walk % kTile;
        subtree[w] = -1;
        if (tree >= FFF_TREES || token0 + token >= batch) continue;
        const float* mine = logits + token * Top::kStride + tree * kSubtrees;
        float act[kMaxTop];
        int node = 0;
#pragma unroll
        for (int l = 0; l < kMaxTop; ++l) {
            act[l] = 0.0f;
            if (l < FFF_TOP) {
                const float z = mine[node];
                act[l] = activate(z);
                node = 2 * node + 1 + (z > 0.0f);
            }
        }
        subtree[w] = tree * kSubtrees + node - (kSubtrees - 1);
        place[w] = atomicAdd(&members[subtree[w]], 1);
        activations[i64(tree) * batch + token0 + token] = make_uint4(
            pack2(act[0], act[1]), pack2(act[2], act[3]), pack2(act[4], act[5]), pack2(act[6], act[7]));
    }
    __syncthreads();
    // counts of a tree: one of each subtree, one more that the second kernel uses
    for (int s = threadIdx.x; s < kAll; s += kThreads)
        if (members[s] > 0) base[s] = atomicAdd(&counts[s + s / kSubtrees], members[s]);
    __syncthreads();
#pragma unroll
    for (int w = 0; w < kWalks; ++w)
        if (subtree[w] >= 0)
            lists[i64(subtree[w]) * batch + base[subtree[w]] + place[w]] = token0 + (int(threadIdx.x) + w * kThreads) % kTile;
}
