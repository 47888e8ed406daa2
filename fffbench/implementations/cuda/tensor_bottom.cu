// What is the output of the tokens of one subtree? The bottom FFF_BOTTOM levels, and the sum over all levels.
//
// A block takes a tile of tokens of one subtree. The logits of all its nodes are one GEMM; each token walks and
// leaves a mostly zero row of activations: its nodes of this subtree, then the FFF_TOP nodes above, which are the
// same for the whole tile because a subtree has one way down to it. Output = activations . W2 rows, a second GEMM,
// written once. W2 is on its way while the last logits are computed. With FFF_TOP 0 the tree is the subtree. One launch
// takes one tree; with FFF_ADD it adds to the output of the trees before.
#include "tensor.cuh"

#ifndef FFF_ADD
#define FFF_ADD 0
#endif

constexpr int kColumns = columns_of(FFF_BOTTOM);
constexpr int kNodes = (1 << FFF_BOTTOM) - 1;
constexpr int kSubtrees = 1 << FFF_TOP;
constexpr int kDepth = ceil_div(kNodes + FFF_TOP, 16) * 16;  // rows of W2 in the second GEMM
using Bottom = Logits<kColumns>;
constexpr int kActStride = Bottom::kStride * 4;  // bytes; a row of activations lies over its row of logits
static_assert(kDepth * 2 <= kActStride, "activations must fit their row of logits");
static_assert(kDepth * kSliceBytes <= Bottom::kStageBytes, "a slice of W2 must fit a stage");

// Two sums of 16-bit values, each added in fp32 and rounded once.
__device__ __forceinline__ u32 add2(u32 a, u32 b) {
    float a0, a1, b0, b1;
    unpack2(a, a0, a1);
    unpack2(b, b0, b1);
    return pack2(a0 + b0, a1 + b1);
}

// The subtree and the first place in its list of tile number `tile`; subtree -1 past the last tile. One warp.
__device__ __forceinline__ void find_tile(const int* counts, int tile, int* found) {
    constexpr int kEach = ceil_div(kSubtrees, kWarp);
    const int lane = threadIdx.x;
    int count[kEach], mine = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
        const int s = lane * kEach + i;
        count[i] = s < kSubtrees ? __ldcg(counts + s) : 0;
        mine += ceil_div(count[i], kTile);
    }
    int before = mine;
#pragma unroll
    for (int offset = 1; offset < kWarp; offset *= 2) {
        const int other = __shfl_up_sync(0xffffffffu, before, offset);
        if (lane >= offset) before += other;
    }
    before -= mine;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
        const int tiles = ceil_div(count[i], kTile);
        if (tile >= before && tile < before + tiles) {
            found[0] = lane * kEach + i;
            found[1] = (tile - before) * kTile;
            found[2] = count[i];
        }
        before += tiles;
    }
}

extern "C" __global__ void __launch_bounds__(kThreads, kTile == 64 ? 3 : 1)
fff_tensor_bottom(const scalar* __restrict__ x, const scalar* __restrict__ w1, const scalar* __restrict__ w2,
                  scalar* __restrict__ y, const uint4* __restrict__ activations, const int* __restrict__ lists,
                  int* __restrict__ counts, int batch, int tree
                  FFF_IF_B1(, const scalar* __restrict__ b1)
                  FFF_IF_B2(, const scalar* __restrict__ b2)) {
    constexpr i64 kTreeWeights = i64((1 << (FFF_TOP + FFF_BOTTOM)) - 1) * kD;
    w1 += tree * kTreeWeights, w2 += tree * kTreeWeights;
    FFF_IF_B1(b1 += tree * (kTreeWeights / kD);)
    activations += i64(tree) * batch, lists += i64(tree) * kSubtrees * batch, counts += tree * (kSubtrees + 1);
    extern __shared__ __align__(128) unsigned char shared[];
    __shared__ int rows[Bottom::kRows], rows2[kDepth], found[3];
    float* logits = reinterpret_cast<float*>(shared + kStages * Bottom::kStageBytes);
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;

#if FFF_TOP > 0
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
    if (threadIdx.x == 0) found[0] = -1;
    __syncthreads();
    if (warp == 0) find_tile(counts, blockIdx.x, found);
    __syncthreads();
    // counts has kSubtrees counters and one of finished blocks: the last block clears all for the next call.
    if (threadIdx.x == 0 && atomicAdd(&counts[kSubtrees], 1) == int(gridDim.x) - 1)
        for (int s = 0; s <= kSubtrees; ++s) counts[s] = 0;
    const int subtree = found[0], start = found[1], count = found[2];
    if (subtree < 0) return;
#else
    const int subtree = 0, start = blockIdx.x * kTile, count = batch;
#endif
    const int root = kSubtrees - 1 + subtree;
    for (int r = threadIdx.x; r < Bottom::kRows; r += kThreads) {
        if (r < kTile) {
#if FFF_TOP > 0
            rows[r] = __ldcg(lists + i64(subtree) * batch + min(start + r, count - 1));
#else
            rows[r] = min(start + r, count - 1);
#endif
        } else {
            rows[r] = subtree_row(root, min(r - kTile, kNodes - 1));
        }
    }
    for (int r = threadIdx.x; r < kDepth; r += kThreads) {
        const int level = r - kNodes;  // of the nodes above: level's ancestor of this subtree
        // Places past the last level meet activations of 0; they name the root, which every token visits anyway.
        rows2[r] = r < kNodes ? subtree_row(root, r)
                              : (level < FFF_TOP ? (1 << level) - 1 + (subtree >> (FFF_TOP - level)) : 0);
    }
    __syncthreads();

    const u32 stages = shared_address(shared);
    Bottom bottom;
    bottom.begin(x, w1, rows FFF_IF_B1(, b1));
    // The stages first bring slices of x and W1, then slices of 64 columns of W2.
    auto copy = [&](int slice) {
        const u32 stage = stages + slice % kStages * Bottom::kStageBytes;
        if (slice < kSlices) {
            bottom.copy(stage, slice);
        } else if (slice < 2 * kSlices) {
            const int column = threadIdx.x % 8 * 8;
#pragma unroll
            for (int r = threadIdx.x / 8; r < kDepth; r += kThreads / 8) {
                copy16(stage + swizzled(r, threadIdx.x % 8), w2 + i64(rows2[r]) * kD + column, slice - kSlices, column);
            }
        }
        commit();
    };
#pragma unroll
    for (int s = 0; s < kStages - 1; ++s) copy(s);
    uint4 above = make_uint4(0, 0, 0, 0);
    if (FFF_TOP > 0 && int(threadIdx.x) < kTile) above = __ldcg(activations + rows[threadIdx.x]);
    for (int s = 0; s < kSlices; ++s) {
        await<kStages - 2>();
        __syncthreads();
        copy(s + kStages - 1);
        bottom.multiply(stages + s % kStages * Bottom::kStageBytes);
    }
    bottom.write(logits);
    __syncthreads();

    if (int(threadIdx.x) < kTile) {
        const float* mine = logits + threadIdx.x * Bottom::kStride;
        float act[FFF_BOTTOM];
        int at[FFF_BOTTOM], node = 0;
#pragma unroll
        for (int l = 0; l < FFF_BOTTOM; ++l) {
            const float z = mine[node];
            act[l] = activate(z);
            at[l] = node;
            node = 2 * node + 1 + (z > 0.0f);
        }
        scalar* out = reinterpret_cast<scalar*>(logits + threadIdx.x * Bottom::kStride);
#pragma unroll
        for (int i = 0; i < kDepth / 8; ++i) reinterpret_cast<uint4*>(out)[i] = make_uint4(0, 0, 0, 0);
#pragma unroll
        for (int l = 0; l < FFF_BOTTOM; ++l) out[at[l]] = to_scalar(act[l]);
        const u32 words[4] = {above.x, above.y, above.z, above.w};
#pragma unroll
        for (int l = 0; l < FFF_TOP; ++l) out[kNodes + l] = scalar(words[l / 2] >> (l % 2 * 16));
    }
    __syncthreads();

    const int first = warp / 2 * 32;
    u32 a[2][kDepth / 16][4];
    int tokens[2][2];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int k = 0; k < kDepth / 16; ++k)
            ldmatrix(a[m][k],
                     shared_address(logits) + (first + m * 16 + lane % 16) * kActStride + (k * 2 + lane / 16) * 16);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int r = first + m * 16 + lane / 4 + half * 8;
            tokens[m][half] = start + r < count ? rows[r] : -1;
        }
    }
    // What the trees before left in y is asked for a slice ahead.
    const int own = warp % 2 * 32 + lane % 4 * 8;
    uint4 old[2][2], next[2][2];
    auto fetch = [&](int column) {
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half)
                if (column < kD && tokens[m][half] >= 0)
                    next[m][half] = __ldcg(reinterpret_cast<const uint4*>(y + i64(tokens[m][half]) * kD + column));
    };
    if (FFF_ADD) fetch(own);
    for (int s = kSlices; s < 2 * kSlices; ++s) {
        if (FFF_ADD) {
#pragma unroll
            for (int m = 0; m < 2; ++m)
#pragma unroll
                for (int half = 0; half < 2; ++half) old[m][half] = next[m][half];
            fetch((s - kSlices + 1) * kSlice + own);
        }
        await<kStages - 2>();
        __syncthreads();
        copy(s + kStages - 1);
        const u32 stage = stages + s % kStages * Bottom::kStageBytes;
        float sums[2][4][4];
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int b = 0; b < 4; ++b)
#pragma unroll
                for (int i = 0; i < 4; ++i) sums[m][b][i] = 0.0f;
        FFF_IF_B2(if (!FFF_ADD) start_output(sums, (s - kSlices) * kSlice, b2);)
#pragma unroll
        for (int k = 0; k < kDepth / 16; ++k)
#pragma unroll
            for (int b = 0; b < 4; b += 2) {
                u32 w[4];
                ldmatrix_trans(w, stage + swizzled(k * 16 + lane % 16, warp % 2 * 4 + b + lane / 16));
#pragma unroll
                for (int m = 0; m < 2; ++m) {
                    mma(sums[m][b], a[m][k], w[0], w[1]);
                    mma(sums[m][b + 1], a[m][k], w[2], w[3]);
                }
            }
        const int column = (s - kSlices) * kSlice + own;
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                u32 v[4];
#pragma unroll
                for (int b = 0; b < 4; ++b) v[b] = pack2(sums[m][b][half * 2], sums[m][b][half * 2 + 1]);
                transpose_quad(v);
                if (column >= kD || tokens[m][half] < 0) continue;
                uint4* to = reinterpret_cast<uint4*>(y + i64(tokens[m][half]) * kD + column);
#if FFF_ADD
                const uint4 sum = old[m][half];
                *to = make_uint4(add2(v[0], sum.x), add2(v[1], sum.y), add2(v[2], sum.z), add2(v[3], sum.w));
#else
                __stcs(to, make_uint4(v[0], v[1], v[2], v[3]));
#endif
            }
    }
}
