// How do tokens of one leaf share its block on tensor cores? A tile of tokens at a time, as tensor_bottom.cu does a subtree.
//
// Lists of tokens by leaf come from tensor_top.cu, whose tree is the routers. logits = x_tile . W1_block^T by kColumns
// neurons at a time, their activations wait in shared memory in the storage type; then y = activations . W2_block, 64
// columns at a time, over all neurons.
#include "leaf_lists.cuh"

#ifndef FFF_CHUNK
#define FFF_CHUNK 32  // neurons of a chunk, 32, 64 or 128
#endif

constexpr int kColumns = FFF_CHUNK;
constexpr int kChunks = ceil_div(kWidth, kColumns);
constexpr int kActStride = (kChunks * kColumns + 8) * 2;  // bytes; rows fall on distinct banks
using Block = Logits<kColumns>;
constexpr int kLoads = kChunks * kSlices;  // stages of the first product; the second has as many
static_assert(kColumns * kSliceBytes <= Block::kStageBytes, "a slice of W2 must fit a stage");

extern "C" __global__ void __launch_bounds__(kThreads)
fff_leaf_tensor(const scalar* __restrict__ x, const scalar* __restrict__ w1, const scalar* __restrict__ w2,
                scalar* __restrict__ y, const int* __restrict__ lists, int* __restrict__ counts, int batch
                FFF_IF_B1(, const scalar* __restrict__ b1)
                FFF_IF_B2(, const scalar* __restrict__ b2)) {
    extern __shared__ __align__(128) unsigned char shared[];
    __shared__ int rows[Block::kRows], found[3];
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
    if (threadIdx.x == 0) found[0] = -1;
    __syncthreads();
    if (warp == 0) find_leaf(counts, blockIdx.x, found);
    __syncthreads();
    // counts has kLeaves counters and one of finished blocks: the last block clears all for the next call.
    if (threadIdx.x == 0 && atomicAdd(&counts[kLeaves], 1) == int(gridDim.x) - 1)
        for (int s = 0; s <= kLeaves; ++s) counts[s] = 0;
    const int leaf = found[0], start = found[1], count = found[2];
    if (leaf < 0) return;
    const scalar* block1 = w1 + (i64(kLeaves) - 1 + i64(leaf) * kWidth) * kD;
    const scalar* block2 = w2 + i64(leaf) * kWidth * kD;
    for (int r = threadIdx.x; r < kTile; r += kThreads)
        rows[r] = __ldcg(lists + i64(leaf) * batch + min(start + r, count - 1));
    __syncthreads();

    const u32 stages = shared_address(shared), act = stages + kStages * Block::kStageBytes;
    Block block;
    auto copy = [&](int load) {
        const u32 stage = stages + load % kStages * Block::kStageBytes;
        const int part = threadIdx.x % 8;
        if (load < kLoads) {
            const int slice = load % kSlices, chunk = load / kSlices;
#pragma unroll
            for (int i = 0; i < Block::kCopies; ++i) {
                const int r = (int(threadIdx.x) + i * kThreads) / 8;
                if (r >= Block::kRows) break;
                const scalar* from = r < kTile ? x + i64(rows[r]) * kD
                                               : block1 + i64(min(chunk * kColumns + r - kTile, kWidth - 1)) * kD;
                copy16(stage + swizzled(r, part), from + part * 8, slice, part * 8);
            }
        } else if (load < 2 * kLoads) {
            const int slice = (load - kLoads) / kChunks, chunk = (load - kLoads) % kChunks;
#pragma unroll
            for (int r = threadIdx.x / 8; r < kColumns; r += kThreads / 8)
                copy16(stage + swizzled(r, part), block2 + i64(min(chunk * kColumns + r, kWidth - 1)) * kD + part * 8,
                       slice, part * 8);
        }
        commit();
    };
#pragma unroll
    for (int s = 0; s < kStages - 1; ++s) copy(s);
    const int first = warp / 2 * 32;
    int load = 0;
    for (int chunk = 0; chunk < kChunks; ++chunk) {
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int b = 0; b < Block::kBlocks; ++b)
#pragma unroll
                for (int i = 0; i < 4; ++i) block.sums[m][b][i] = 0.0f;
#if FFF_B1
        block.start([&](int column) {
            return bias_of(b1, i64(kLeaves) - 1 + i64(leaf) * kWidth + min(chunk * kColumns + column, kWidth - 1));
        });
#endif
        for (int slice = 0; slice < kSlices; ++slice, ++load) {
            await<kStages - 2>();
            __syncthreads();
            copy(load + kStages - 1);
            block.multiply(stages + load % kStages * Block::kStageBytes);
        }
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int b = 0; b < Block::kBlocks; ++b)
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int row = first + m * 16 + half * 8 + lane / 4;
                    const int neuron = chunk * kColumns + warp % 2 * (kColumns / 2) + b * 8 + lane % 4 * 2;
                    // a neuron that is not there repeats the last one, and is activated by 0
                    const float low = neuron < kWidth ? activate(block.sums[m][b][half * 2]) : 0.0f;
                    const float high = neuron + 1 < kWidth ? activate(block.sums[m][b][half * 2 + 1]) : 0.0f;
                    asm volatile("st.shared.b32 [%0], %1;" ::"r"(act + row * kActStride + neuron * 2), "r"(pack2(low, high))
                                 : "memory");
                }
    }
    int tokens[2][2];
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int r = first + m * 16 + lane / 4 + half * 8;
            tokens[m][half] = start + r < count ? rows[r] : -1;
        }
    for (int slice = 0; slice < kSlices; ++slice) {
        float sums[2][4][4];
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int b = 0; b < 4; ++b)
#pragma unroll
                for (int i = 0; i < 4; ++i) sums[m][b][i] = 0.0f;
        FFF_IF_B2(start_output(sums, slice * kSlice, b2 + i64(leaf) * kD);)
        for (int chunk = 0; chunk < kChunks; ++chunk, ++load) {
            await<kStages - 2>();
            __syncthreads();  // the activations are written, too
            copy(load + kStages - 1);
            const u32 stage = stages + load % kStages * Block::kStageBytes;
#pragma unroll
            for (int k = 0; k < kColumns / 16; ++k) {
                u32 a[2][4];
#pragma unroll
                for (int m = 0; m < 2; ++m)
                    ldmatrix(a[m], act + (first + m * 16 + lane % 16) * kActStride +
                                       (chunk * kColumns + k * 16 + lane / 16 * 8) * 2);
#pragma unroll
                for (int b = 0; b < 4; b += 2) {
                    u32 w[4];
                    ldmatrix_trans(w, stage + swizzled(k * 16 + lane % 16, warp % 2 * 4 + b + lane / 16));
#pragma unroll
                    for (int m = 0; m < 2; ++m) {
                        mma(sums[m][b], a[m], w[0], w[1]);
                        mma(sums[m][b + 1], a[m], w[2], w[3]);
                    }
                }
            }
        }
        const int column = slice * kSlice + warp % 2 * 32 + lane % 4 * 8;
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                u32 v[4];
#pragma unroll
                for (int b = 0; b < 4; ++b) v[b] = pack2(sums[m][b][half * 2], sums[m][b][half * 2 + 1]);
                transpose_quad(v);
                if (column < kD && tokens[m][half] >= 0)
                    __stcs(reinterpret_cast<uint4*>(y + i64(tokens[m][half]) * kD + column),
                           make_uint4(v[0], v[1], v[2], v[3]));
            }
    }
}
