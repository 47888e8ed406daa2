// How is a path walked when nothing special is known about the shape? FFF_WARPS warps to a token, one node at a time.
//
// The fallback for every shape: any d, levels, trees and alignment. The token's x and its output stay in registers
// (fp32), each visited row of W1 and W2 is read once, y is written once. A block holds kTokens tokens. With FFF_ABOVE the
// walk of a layer of one tree goes on where another kernel left it, and adds to that one's y; tokens then come in the order
// of the subtree they enter, so that those that run at the same time read the same rows.
#include "common.cuh"

#ifndef FFF_WARPS
#define FFF_WARPS 1
#endif

#ifndef FFF_ABOVE
#define FFF_ABOVE 0  // levels that another kernel walked
#endif

constexpr int kThreads = FFF_WARPS * kWarp;  // of one token
constexpr int kBlock = kThreads > 128 ? kThreads : 128;
constexpr int kTokens = kBlock / kThreads;
constexpr int kPieces = ceil_div(kD, kVector * kThreads);  // vectors that a thread holds of a row

extern "C" __global__ void __launch_bounds__(kBlock)
fff_path(const scalar* __restrict__ x, const scalar* __restrict__ w1, const scalar* __restrict__ w2,
         scalar* __restrict__ y, const int* __restrict__ lists, int* counts, int batch, int trees, int levels
         FFF_IF_B1(, const scalar* __restrict__ b1) FFF_IF_B2(, const scalar* __restrict__ b2)) {
    __shared__ float partial[2][kTokens][FFF_WARPS];
    const int slot = threadIdx.x / kThreads;
    const int lane = threadIdx.x % kThreads;
    i64 token = i64(blockIdx.x) * kTokens + slot;
    const bool live = token < batch;  // the whole group of warps agrees; a dead one walks along for the barriers
#if FFF_ABOVE > 0
    __shared__ int found[kTokens][3];
    constexpr int kLists = 1 << FFF_ABOVE;
    for (int t = threadIdx.x / kWarp; t < kTokens; t += kBlock / kWarp)
        find_in_lists<kLists, 1>(counts, int(blockIdx.x) * kTokens + t, found[t]);
    __syncthreads();
    // counts has a counter of each list and one of finished blocks: the last block clears all for the next call.
    if (threadIdx.x == 0 && atomicAdd(&counts[kLists], 1) == int(gridDim.x) - 1)
        for (int s = 0; s <= kLists; ++s) counts[s] = 0;
    const int entered = live ? found[slot][0] : 0;
    if (live) token = __ldcg(lists + i64(entered) * batch + found[slot][1]);
#endif

    float in[kPieces][kVector], out[kPieces][kVector];
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
        const int column = (p * kThreads + lane) * kVector;
        Vector<kVector> v;
        v.clear();
        if (live && column < kD) v.load(x + token * kD + column);
        v.widen(in[p]);
        if constexpr (FFF_ABOVE > 0) {
            v.clear();
            if (live && column < kD) v.load_again(y + token * kD + column);
            v.widen(out[p]);
        } else {
#pragma unroll
            for (int i = 0; i < kVector; ++i) out[p][i] = 0.0f FFF_IF_B2(+ (column < kD ? bias_of(b2, column + i) : 0.0f));
        }
    }
    const i64 nodes = (i64(1) << levels) - 1;
    int turn = 0;
    for (int tree = 0; tree < trees; ++tree) {
        i64 node = 0;
#if FFF_ABOVE > 0
        node = (1 << FFF_ABOVE) - 1 + entered;
#endif
        for (int level = FFF_ABOVE; level < levels; ++level) {
            const i64 row = (tree * nodes + node) * kD;
            Vector<kVector> a[kPieces], b[kPieces];
#pragma unroll
            for (int p = 0; p < kPieces; ++p) {
                const int column = (p * kThreads + lane) * kVector;
                a[p].clear();
                b[p].clear();
                if (column < kD) {
                    a[p].load(w1 + row + column);
                    b[p].load(w2 + row + column);
                }
            }
            FFF_IF_B1(const float bias = bias_of(b1, tree * nodes + node);)
            float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
            for (int p = 0; p < kPieces; ++p) {
                float w[kVector];
                a[p].widen(w);
#pragma unroll
                for (int i = 0; i < kVector; ++i) sums[i % 4] += in[p][i] * w[i];
            }
            float z = warp_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
            if constexpr (FFF_WARPS > 1) {
                if (lane % kWarp == 0) partial[turn][slot][lane / kWarp] = z;
                __syncthreads();
                z = 0.0f;
#pragma unroll
                for (int w = 0; w < FFF_WARPS; ++w) z += partial[turn][slot][w];
                turn ^= 1;
            }
            FFF_IF_B1(z += bias;)
            const float activation = activate(z);
#pragma unroll
            for (int p = 0; p < kPieces; ++p) {
                float w[kVector];
                b[p].widen(w);
#pragma unroll
                for (int i = 0; i < kVector; ++i) out[p][i] += activation * w[i];
            }
            node = 2 * node + 1 + (z > 0.0f);
        }
    }
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
        const int column = (p * kThreads + lane) * kVector;
        if (live && column < kD) {
            Vector<kVector> v;
            v.narrow(out[p]);
            v.store(y + token * kD + column);
        }
    }
}
