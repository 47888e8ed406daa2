// What did the published CUDA kernel do? One thread walks one token; blocks of 1024 threads; the output in global memory.
//
// Written anew from the description in the claims ledger: neighbouring threads read rows of x far apart (nothing
// coalesces), 16384 tokens make 16 blocks, and every level reads and writes the token's whole output in memory.
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(1024)
cmm_naive(const scalar* __restrict__ x, const scalar* __restrict__ w1, const scalar* __restrict__ w2, scalar* y,
          int batch, int trees, int levels) {
    const i64 token = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (token >= batch) return;
    const scalar* in = x + token * kD;
    scalar* out = y + token * kD;
    for (int i = 0; i < kD; ++i) out[i] = to_scalar(0.0f);
    const i64 nodes = (i64(1) << levels) - 1;
    for (int tree = 0; tree < trees; ++tree) {
        i64 node = 0;
        for (int level = 0; level < levels; ++level) {
            const i64 row = (tree * nodes + node) * kD;
            float z = 0.0f;
#pragma unroll 4
            for (int i = 0; i < kD; ++i) z += to_float(in[i]) * to_float(w1[row + i]);
            const float activation = activate(z);
#pragma unroll 4
            for (int i = 0; i < kD; ++i) out[i] = to_scalar(to_float(out[i]) + activation * to_float(w2[row + i]));
            node = 2 * node + 1 + (z > 0.0f);
        }
    }
}
