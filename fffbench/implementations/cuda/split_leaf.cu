// What are the activations of the neurons of the leaves that few tokens reach? A warp to a neuron of a token's leaf.
//
// leaf (batch, trees) is from split_walk.cu; visits (batch, trees * width), row of W2 and activation, are for split_sum.cu.
#include "common.cuh"

#ifndef FFF_WARPS
#define FFF_WARPS 8
#endif

constexpr int kPieces = ceil_div(kD, kVector * kWarp);

extern "C" __global__ void __launch_bounds__(FFF_WARPS * kWarp)
fff_split_neurons(const scalar* __restrict__ x, const scalar* __restrict__ w1, const int* __restrict__ leaf,
                  int2* __restrict__ visits, int batch, int trees, int levels, int width
                  FFF_IF_B1(, const scalar* __restrict__ b1)) {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
    const int lane = threadIdx.x % kWarp;
    const i64 visit = i64(blockIdx.x) * FFF_WARPS + threadIdx.x / kWarp;
    if (visit >= i64(batch) * trees * width) return;
    const i64 walk = visit / width, token = walk / trees, tree = walk % trees;
    const i64 neuron = (tree * (i64(1) << levels) + __ldcg(leaf + walk)) * width + visit % width;
    const scalar* row = w1 + (trees * ((i64(1) << levels) - 1) + neuron) * kD;
    FFF_IF_B1(const float bias = bias_of(b1, trees * ((i64(1) << levels) - 1) + neuron);)
    float parts[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    Vector<kVector> u[kPieces], v[kPieces];
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
        const int column = (p * kWarp + lane) * kVector;
        u[p].clear();
        v[p].clear();
        if (column < kD) {
            u[p].load(x + token * kD + column);
            v[p].load(row + column);
        }
    }
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
        float a[kVector], b[kVector];
        u[p].widen(a);
        v[p].widen(b);
#pragma unroll
        for (int i = 0; i < kVector; ++i) parts[i % 4] += a[i] * b[i];
    }
    const float z = warp_sum((parts[0] + parts[1]) + (parts[2] + parts[3])) FFF_IF_B1(+ bias);
    if (lane == 0) visits[visit] = make_int2(int(neuron), __float_as_int(activate(z)));
}
