// Which subtree does each token enter, in fp32? W1 rows of the top FFF_HELD levels sit in shared memory, once a block.
//
// Blocks are as many as multiprocessors; each takes an equal share of the tokens, in chunks that join the subtrees'
// lists together. Levels from FFF_HELD to FFF_TOP read their row from L2.
#include "shared.cuh"

constexpr int kChunk = kBlock / 2;  // tokens that join the lists together

extern "C" __global__ void __launch_bounds__(kBlock, 1)
fff_shared_top(const float* __restrict__ x, const float* __restrict__ w1, float* __restrict__ activations,
               int* __restrict__ lists, int* __restrict__ counts, int batch
               FFF_IF_B1(, const scalar* __restrict__ b1)) {
    extern __shared__ __align__(16) float held[];
    __shared__ int entered[kChunk], members[kSubtrees], base[kSubtrees];
    constexpr int kHeldRows = (1 << FFF_HELD) - 1;
    for (int i = threadIdx.x; i < kHeldRows * (kD / 4); i += kBlock)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(u32(__cvta_generic_to_shared(held + i * 4))),
                     "l"(w1 + i * 4)
                     : "memory");
    finish_copies();
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    const int share = ceil_div(batch, gridDim.x);
    const int first = blockIdx.x * share, end = min(batch, first + share);
    for (int chunk = first; chunk < end; chunk += kChunk) {
        const int stop = min(end, chunk + kChunk);
        for (int s = threadIdx.x; s < kSubtrees; s += kBlock) members[s] = 0;
        for (int token = chunk + warp * 2; token < stop; token += kWarps * 2) {
            const int other = min(token + 1, stop - 1);
            Row a, b;
            a.read(x + i64(token) * kD);
            b.read(x + i64(other) * kD);
            int na = 0, nb = 0;
            float mine = 0.0f;  // lane l keeps level l % kMaxTop of token a (l < kMaxTop) or b
#pragma unroll
            for (int l = 0; l < FFF_TOP; ++l) {
                const float* from = l < FFF_HELD ? held : w1;
                FFF_IF_B1(const float ba = bias_of(b1, na), bb = bias_of(b1, nb);)
                float za = a.dot(from + na * kD), zb = b.dot(from + nb * kD);
                warp_sum2(za, zb);
                FFF_IF_B1(za += ba, zb += bb;)
                if (lane == l) mine = za;
                if (lane == l + kMaxTop) mine = zb;
                na = 2 * na + 1 + (za > 0.0f);
                nb = 2 * nb + 1 + (zb > 0.0f);
            }
            if (lane < 2 * kMaxTop && (lane < kMaxTop || other > token))
                activations[i64(token) * kMaxTop + lane] = activate(mine);
            if (lane == 0) {
                entered[token - chunk] = na - (kSubtrees - 1);
                entered[other - chunk] = (other > token ? nb : na) - (kSubtrees - 1);
            }
        }
        __syncthreads();
        const int i = threadIdx.x;
        const bool live = i < stop - chunk;
        const int subtree = live ? entered[i] : 0;
        const int place = live ? atomicAdd(&members[subtree], 1) : 0;
        __syncthreads();
        for (int s = threadIdx.x; s < kSubtrees; s += kBlock)
            if (members[s] > 0) base[s] = atomicAdd(&counts[s], members[s]);
        __syncthreads();
        if (live) lists[i64(subtree) * batch + base[subtree] + place] = chunk + i;
        __syncthreads();
    }
}
