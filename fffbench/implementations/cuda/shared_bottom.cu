// What is the output of each token, in fp32? Rows of one subtree at a time sit in shared memory: W1, W2, and W2 above.
//
// Tokens are taken in the order of the subtrees' lists, and each block takes an equal share of that order, so uneven
// subtrees cost nothing but a reload where a share crosses from one subtree to the next.
#include "shared.cuh"

constexpr int kNodes = (1 << FFF_BOTTOM) - 1;

extern "C" __global__ void __launch_bounds__(kBlock, 1)
fff_shared_bottom(const float* __restrict__ x, const float* __restrict__ w1, const float* __restrict__ w2,
                  float* __restrict__ y, const float* __restrict__ activations, const int* __restrict__ lists,
                  int* __restrict__ counts, int batch
                  FFF_IF_B1(, const scalar* __restrict__ b1)
                  FFF_IF_B2(, const scalar* __restrict__ b2)) {
    extern __shared__ __align__(16) float held[];
    float* const held1 = held;
    float* const held2 = held + kNodes * kD;
    float* const above = held + 2 * kNodes * kD;
    __shared__ int count[kSubtrees];
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
    for (int s = threadIdx.x; s < kSubtrees; s += kBlock) count[s] = __ldcg(counts + s);
    __syncthreads();
    if (threadIdx.x == 0 && atomicAdd(&counts[kSubtrees], 1) == int(gridDim.x) - 1)
        for (int s = 0; s <= kSubtrees; ++s) counts[s] = 0;  // all blocks have read them; clean for the next call

    const int share = ceil_div(batch, gridDim.x);
    int from = blockIdx.x * share;
    const int end = min(batch, from + share);
    int subtree = 0, before = 0;
    while (from < end) {
        while (from >= before + count[subtree]) before += count[subtree++];
        const int stop = min(end, before + count[subtree]);
        const int root = kSubtrees - 1 + subtree;
        for (int i = threadIdx.x; i < (2 * kNodes + FFF_TOP) * (kD / 4); i += kBlock) {
            const int row = i / (kD / 4), column = i % (kD / 4) * 4;
            const float* source = row < 2 * kNodes
                ? (row < kNodes ? w1 + i64(subtree_row(root, row)) * kD : w2 + i64(subtree_row(root, row - kNodes)) * kD)
                : w2 + i64((1 << (row - 2 * kNodes)) - 1 + (subtree >> (FFF_TOP - (row - 2 * kNodes)))) * kD;
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(u32(__cvta_generic_to_shared(held + i * 4))),
                         "l"(source + column)
                         : "memory");
        }
        finish_copies();
        const int* list = lists + i64(subtree) * batch - before;
        for (int at = from + warp * 2; at < stop; at += kWarps * 2) {
            const int ta = __ldcg(list + at), tb = __ldcg(list + min(at + 1, stop - 1));
            float za[FFF_BOTTOM], zb[FFF_BOTTOM];
            int na[FFF_BOTTOM], nb[FFF_BOTTOM];
            const float top = __ldcg(activations + i64(lane < kMaxTop ? ta : tb) * kMaxTop + lane % kMaxTop);
            {
                Row a, b;
                a.read(x + i64(ta) * kD);
                b.read(x + i64(tb) * kD);
                int ia = 0, ib = 0;
#pragma unroll
                for (int l = 0; l < FFF_BOTTOM; ++l) {
                    na[l] = ia, nb[l] = ib;
                    FFF_IF_B1(const float ba = bias_of(b1, subtree_row(root, ia)), bb = bias_of(b1, subtree_row(root, ib));)
                    za[l] = a.dot(held1 + ia * kD), zb[l] = b.dot(held1 + ib * kD);
                    warp_sum2(za[l], zb[l]);
                    FFF_IF_B1(za[l] += ba, zb[l] += bb;)
                    ia = 2 * ia + 1 + (za[l] > 0.0f);
                    ib = 2 * ib + 1 + (zb[l] > 0.0f);
                }
            }
#pragma unroll
            for (int l = 0; l < FFF_BOTTOM; ++l) za[l] = activate(za[l]), zb[l] = activate(zb[l]);
            float ga[FFF_TOP], gb[FFF_TOP];
#pragma unroll
            for (int l = 0; l < FFF_TOP; ++l) {
                ga[l] = __shfl_sync(0xffffffffu, top, l);
                gb[l] = __shfl_sync(0xffffffffu, top, l + kMaxTop);
            }
#pragma unroll
            for (int p = 0; p < kPieces; ++p) {
                const int column = (p * kWarp + lane) * 4;
                if ((p + 1) * kWarp * 4 <= kD || column < kD) {
#if FFF_B2
                    float4 ya = make_float4(bias_of(b2, column), bias_of(b2, column + 1), bias_of(b2, column + 2),
                                            bias_of(b2, column + 3)), yb = ya;
#else
                    float4 ya = make_float4(0, 0, 0, 0), yb = ya;
#endif
                    auto add = [](float4& sum, float g, const float4& w) {
                        sum.x += g * w.x, sum.y += g * w.y, sum.z += g * w.z, sum.w += g * w.w;
                    };
#pragma unroll
                    for (int l = 0; l < FFF_TOP; ++l) {
                        const float4 w = *reinterpret_cast<const float4*>(above + l * kD + column);
                        add(ya, ga[l], w);
                        add(yb, gb[l], w);
                    }
#pragma unroll
                    for (int l = 0; l < FFF_BOTTOM; ++l) {
                        add(ya, za[l], *reinterpret_cast<const float4*>(held2 + na[l] * kD + column));
                        add(yb, zb[l], *reinterpret_cast<const float4*>(held2 + nb[l] * kD + column));
                    }
                    __stcs(reinterpret_cast<float4*>(y + i64(ta) * kD + column), ya);
                    __stcs(reinterpret_cast<float4*>(y + i64(tb) * kD + column), yb);
                }
            }
        }
        __syncthreads();  // before the next subtree's rows replace these
        from = stop;
    }
}
