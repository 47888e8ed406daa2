// Which neurons of a dense product's logits are on a token's paths? In place: their activations, zero for all others.
//
// hidden (batch, width) holds the logits of all nodes, tree after tree, breadth first, then padding. A block takes a
// token's row into shared memory, a thread walks a tree there, and the row is written back. Rounding a logit to its
// storage type keeps its sign, so the turns are those of the product's fp32 sums. Reads and writes the matrix once: what an
// activation function as a kernel of its own costs a dense layer.
#include "common.cuh"

constexpr int kBlock = 256;
constexpr int kEach = 16 / int(sizeof(scalar));  // elements of a 16-byte access; width is a multiple of it

extern "C" __global__ void __launch_bounds__(kBlock)
fff_masked(scalar* __restrict__ hidden, int width, int trees, int levels) {
    extern __shared__ __align__(16) unsigned char shared[];
    scalar* logits = reinterpret_cast<scalar*>(shared);
    scalar* out = logits + width;
    scalar* row = hidden + i64(blockIdx.x) * width;
    for (int i = threadIdx.x; i < width / kEach; i += kBlock) {
        reinterpret_cast<uint4*>(logits)[i] = __ldcs(reinterpret_cast<const uint4*>(row) + i);
        reinterpret_cast<uint4*>(out)[i] = make_uint4(0, 0, 0, 0);
    }
    __syncthreads();
    for (int tree = threadIdx.x; tree < trees; tree += kBlock) {
        const int first = tree * ((1 << levels) - 1);
        int node = 0;
        for (int level = 0; level < levels; ++level) {
            const float z = to_float(logits[first + node]);
            out[first + node] = to_scalar(activate(z));
            node = 2 * node + 1 + (z > 0.0f);
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < width / kEach; i += kBlock)
        reinterpret_cast<uint4*>(row)[i] = reinterpret_cast<const uint4*>(out)[i];
}
