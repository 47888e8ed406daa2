// What did the published dense CUDA kernel do? One thread computes one token, neuron by neuron; blocks of 1024 threads.
//
// Written anew from the description in the claims ledger, as naive.cu, whose baseline it is: neighbouring threads read
// rows of x far apart (nothing coalesces), every row of W is read by all threads at once, and every neuron reads and
// writes the token's whole output in global memory.
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(1024)
fff_dense_naive(const scalar* __restrict__ x, const scalar* __restrict__ w1, const scalar* __restrict__ w2, scalar* y,
            int batch, int n) {
    const i64 token = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (token >= batch) return;
    const scalar* in = x + token * kD;
    scalar* out = y + token * kD;
    for (int i = 0; i < kD; ++i) out[i] = to_scalar(0.0f);
    for (int k = 0; k < n; ++k) {
        const i64 row = i64(k) * kD;
        float z = 0.0f;
#pragma unroll 4
        for (int i = 0; i < kD; ++i) z += to_float(in[i]) * to_float(w1[row + i]);
        const float activation = activate(z);
#pragma unroll 4
        for (int i = 0; i < kD; ++i) out[i] = to_scalar(to_float(out[i]) + activation * to_float(w2[row + i]));
    }
}
