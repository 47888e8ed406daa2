// How is a leaf FFF computed when nothing special is known about the shape? A block to a token, a warp to a neuron.
//
// Every warp walks the whole path by itself: what one has read lies in L1 for the others, and no barrier is needed.
// Then the warps share the block's rows of W1, and the threads its columns of W2. Any d, levels, trees and width.
#include "common.cuh"

#ifndef FFF_WARPS
#define FFF_WARPS 8
#endif

constexpr int kThreads = FFF_WARPS * kWarp;
constexpr int kChunk = 256;  // neurons whose activations are held at once
constexpr int kLanePieces = ceil_div(kD, kVector * kWarp);       // vectors that a lane reads of a row
constexpr int kOutPieces = ceil_div(kD, kVector * kThreads);     // vectors of y that a thread owns

__device__ __forceinline__ float row_dot(const scalar* a, const scalar* b, int lane) {
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 4
    for (int p = 0; p < kLanePieces; ++p) {
        const int column = (p * kWarp + lane) * kVector;
        Vector<kVector> u, v;
        u.clear();
        v.clear();
        if (column < kD) {
            u.load(a + column);
            v.load(b + column);
        }
        float us[kVector], vs[kVector];
        u.widen(us);
        v.widen(vs);
#pragma unroll
        for (int i = 0; i < kVector; ++i) sums[i % 4] += us[i] * vs[i];
    }
    return warp_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

extern "C" __global__ void __launch_bounds__(kThreads)
fff_leaf_token(const scalar* __restrict__ x, const scalar* __restrict__ w1, const scalar* __restrict__ w2,
               scalar* __restrict__ y, int batch, int trees, int levels, int width
               FFF_IF_B1(, const scalar* __restrict__ b1)
               FFF_IF_B2(, const scalar* __restrict__ b2)) {
    __shared__ float activation[kChunk];
    const i64 token = blockIdx.x;
    if (token >= batch) return;
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    const scalar* in = x + token * kD;
    float out[kOutPieces][kVector];
#pragma unroll
    for (int p = 0; p < kOutPieces; ++p)
#pragma unroll
        for (int i = 0; i < kVector; ++i) out[p][i] = 0.0f;

    const i64 nodes = (i64(1) << levels) - 1;
    for (int tree = 0; tree < trees; ++tree) {
        i64 node = 0;
        for (int level = 0; level < levels; ++level) {
            FFF_IF_B1(const float bias = bias_of(b1, tree * nodes + node);)
            const float z = row_dot(in, w1 + (tree * nodes + node) * kD, lane) FFF_IF_B1(+ bias);
            node = 2 * node + 1 + (z > 0.0f);
        }
        const i64 first = (tree * (nodes + 1) + node - nodes) * width;
        const scalar* block1 = w1 + (trees * nodes + first) * kD;
        const scalar* block2 = w2 + first * kD;
#if FFF_B2
#pragma unroll
        for (int p = 0; p < kOutPieces; ++p) {
            const int column = (p * kThreads + int(threadIdx.x)) * kVector;
#pragma unroll
            for (int i = 0; i < kVector; ++i)
                if (column < kD) out[p][i] += bias_of(b2, first / width * kD + column + i);
        }
#endif
        for (int from = 0; from < width; from += kChunk) {
            const int count = min(kChunk, width - from);
            for (int k = warp; k < count; k += FFF_WARPS) {
                FFF_IF_B1(const float bias = bias_of(b1, trees * nodes + first + from + k);)
                const float z = row_dot(in, block1 + i64(from + k) * kD, lane) FFF_IF_B1(+ bias);
                if (lane == 0) activation[k] = activate(z);
            }
            __syncthreads();
#pragma unroll 4
            for (int k = 0; k < count; ++k) {
                const float a = activation[k];
#pragma unroll
                for (int p = 0; p < kOutPieces; ++p) {
                    const int column = (p * kThreads + int(threadIdx.x)) * kVector;
                    Vector<kVector> v;
                    v.clear();
                    if (column < kD) v.load(block2 + i64(from + k) * kD + column);
                    float wide[kVector];
                    v.widen(wide);
#pragma unroll
                    for (int i = 0; i < kVector; ++i) out[p][i] += a * wide[i];
                }
            }
            __syncthreads();  // before the next chunk's activations replace these
        }
    }
#pragma unroll
    for (int p = 0; p < kOutPieces; ++p) {
        const int column = (p * kThreads + int(threadIdx.x)) * kVector;
        if (column < kD) {
            Vector<kVector> v;
            v.narrow(out[p]);
            v.store(y + token * kD + column);
        }
    }
}
