// What are the activations of a leaf's neurons for the tokens that reach it? H (batch, chunks), by wgmma.
//
// A block takes a tile of tokens of one leaf, 64 to a warpgroup, and kColumns of its neurons; all its threads copy, so that
// rows of x can be gathered, and the slices lie as a tensor map would put them. H's columns come out in dense_form.cu's
// order, in 16 bytes of each thread of a quad; leaf_output.cu reads W2 in that order. Two kernels, where leaf_tensor.cu is
// one: a leaf's neurons are shared out over blocks, which few tokens need, and wide leaves fill the tensor cores.
#include "leaf_lists.cuh"
#include "wgmma.cuh"

#ifndef FFF_CHUNK
#define FFF_CHUNK 64  // neurons of a block
#endif

constexpr int kColumns = FFF_CHUNK;
constexpr int kChunks = ceil_div(kWidth, kColumns);
constexpr int kSlots = kColumns / 4;
constexpr int kRows = kTile + kColumns;
constexpr u32 kStageBytes = kRows * kSliceBytes;
static_assert(kStages >= 4, "a stage is free again two steps after its use");

extern "C" __global__ void __launch_bounds__(kThreads)
fff_leaf_hidden(const scalar* __restrict__ x, const scalar* __restrict__ w1, scalar* __restrict__ hidden,
                const int* __restrict__ lists, const int* __restrict__ counts, int batch
                FFF_IF_B1(, const scalar* __restrict__ b1)) {
    extern __shared__ unsigned char shared[];
    __shared__ int rows[kTile], found[3];
    const int lane = threadIdx.x % kWarp;
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
    asm volatile("griddepcontrol.launch_dependents;");
#endif
    if (threadIdx.x == 0) found[0] = -1;
    __syncthreads();
    if (threadIdx.x < kWarp) find_leaf(counts, blockIdx.x / kChunks, found);
    __syncthreads();
    const int leaf = found[0], start = found[1], count = found[2], chunk = blockIdx.x % kChunks;
    if (leaf < 0) return;
    const scalar* block = w1 + (i64(kLeaves) - 1 + i64(leaf) * kWidth) * kD;
    for (int r = threadIdx.x; r < kTile; r += kThreads)
        rows[r] = __ldcg(lists + i64(leaf) * batch + min(start + r, count - 1));
    __syncthreads();

    const u32 stages = (shared_address(shared) + 1023) & ~1023u;
    constexpr int kCopies = kRows * 8 / kThreads;
    static_assert(kRows * 8 % kThreads == 0, "every thread copies as many pieces");
    const int part = threadIdx.x % 8;
    const scalar* source[kCopies];
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
        const int r = (int(threadIdx.x) + i * kThreads) / 8;
        source[i] = part * 8 + (r < kTile ? x + i64(rows[r < kTile ? r : 0]) * kD
                                          : block + i64(min(chunk * kColumns + r - kTile, kWidth - 1)) * kD);
    }
    auto copy = [&](int slice) {
        if (slice < kSlices) {
            const u32 stage = stages + slice % kStages * kStageBytes;
#pragma unroll
            for (int i = 0; i < kCopies; ++i)
                copy16(stage + swizzled((int(threadIdx.x) + i * kThreads) / 8, part), source[i], slice, part * 8);
        }
        commit();
    };
#pragma unroll
    for (int s = 0; s < kStages - 2; ++s) copy(s);
    float sums[2 * kSlots];
#if FFF_B1
    start_sums(sums, [&](int column) {
        return bias_of(b1, i64(kLeaves) - 1 + i64(leaf) * kWidth + min(chunk * kColumns + column, kWidth - 1));
    });
#endif
#pragma unroll 1
    for (int s = 0; s < kSlices; ++s) {
        await<kStages - 3>();
        wgmma_visible();
        __syncthreads();
        copy(s + kStages - 2);
        const u32 stage = stages + s % kStages * kStageBytes;
        const u64 a = slice_descriptor(stage + threadIdx.x / 128 * 64 * kSliceBytes);
        const u64 b = slice_descriptor(stage + kTile * kSliceBytes);
        pin(sums);
        wgmma_fence();
#pragma unroll
        for (int k = 0; k < kSlice / 16; ++k) Wgmma<kColumns>::multiply(sums, a + 2 * k, b + 2 * k, FFF_IF_B1(true ||) s > 0 || k > 0);
        wgmma_commit();
        pin(sums);
        wgmma_wait<1>();
    }
    wgmma_wait<0>();
    pin(sums);
    const int quad = lane % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int r = threadIdx.x / kWarp * 16 + half * 8 + lane / 4;
        if (start + r >= count) continue;
        scalar* to = hidden + i64(rows[r]) * (kChunks * kColumns) + chunk * kColumns + quad * 8;
#pragma unroll
        for (int c = 0; c < kSlots / 8; ++c) {
            u32 word[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {  // slots 8 c + 2 i and the next: columns 8 (4 c + i) + 2 quad and the next
                const int neuron = chunk * kColumns + 8 * (4 * c + i) + 2 * quad;
                const float* z = sums + 4 * (4 * c + i) + 2 * half;
                word[i] = pack2(neuron < kWidth ? activation(z[0]) : 0.0f, neuron + 1 < kWidth ? activation(z[1]) : 0.0f);
            }
            *reinterpret_cast<uint4*>(to + c * 32) = make_uint4(word[0], word[1], word[2], word[3]);
        }
    }
}
