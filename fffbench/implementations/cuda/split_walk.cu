// Which neurons does each token visit, and with which activations, when tokens are few and trees many? A warp to a token's
// tree, so that all trees are walked at once: as many trips to memory in a row as a tree has rounds of FFF_AHEAD levels.
//
// visits (batch, trees * levels): row of W2 and activation, which split_sum.cu adds up.
#include "common.cuh"

#ifndef FFF_AHEAD
#define FFF_AHEAD 1  // levels read at once
#endif
#ifndef FFF_WARPS
#define FFF_WARPS 4
#endif

constexpr int kPieces = ceil_div(kD, kVector * kWarp);  // vectors that a lane holds of a row
constexpr int kRows = (1 << FFF_AHEAD) - 1;             // read at once

extern "C" __global__ void __launch_bounds__(FFF_WARPS * kWarp)
fff_split_walk(const scalar* __restrict__ x, const scalar* __restrict__ w1, int2* __restrict__ visits, int batch,
               int trees, int levels) {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
    const int lane = threadIdx.x % kWarp;
    const i64 walker = i64(blockIdx.x) * FFF_WARPS + threadIdx.x / kWarp;
    if (walker >= i64(batch) * trees) return;
    const i64 token = walker / trees;
    const int tree = int(walker % trees);
    Vector<kVector> in[kPieces];
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
        const int column = (p * kWarp + lane) * kVector;
        in[p].clear();
        if (column < kD) in[p].load(x + token * kD + column);
    }
    const int first = tree * ((1 << levels) - 1);
    int2* out = visits + walker * levels;
    int node = 0;
    for (int level = 0; level < levels; level += FFF_AHEAD) {
        float sums[kRows];
        const int there = min(kRows, (1 << (levels - level)) - 1);  // rows of the subtree that exist
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            const scalar* row = w1 + i64(first + subtree_row(node, r < there ? r : 0)) * kD;
            Vector<kVector> w[kPieces];
#pragma unroll
            for (int p = 0; p < kPieces; ++p) {
                const int column = (p * kWarp + lane) * kVector;
                w[p].clear();
                if (column < kD) w[p].load(row + column);
            }
            float parts[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
            for (int p = 0; p < kPieces; ++p) {
                float u[kVector], v[kVector];
                in[p].widen(u);
                w[p].widen(v);
#pragma unroll
                for (int i = 0; i < kVector; ++i) parts[i % 4] += u[i] * v[i];
            }
            sums[r] = (parts[0] + parts[1]) + (parts[2] + parts[3]);
        }
#pragma unroll
        for (int r = 0; r < kRows; ++r) sums[r] = warp_sum(sums[r]);
        int local = 0;
#pragma unroll
        for (int l = 0; l < FFF_AHEAD; ++l) {
            if (level + l >= levels) break;
            float z = 0.0f;
#pragma unroll
            for (int r = (1 << l) - 1; r < (2 << l) - 1; ++r) z = local == r ? sums[r] : z;
            if (lane == 0) out[level + l] = make_int2(first + subtree_row(node, local), __float_as_int(gelu(z)));
            local = 2 * local + 1 + (z > 0.0f);
        }
        node = subtree_row(node, local);
    }
}
