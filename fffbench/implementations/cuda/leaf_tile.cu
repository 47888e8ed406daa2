// How do tokens of one leaf share its block? 32 tokens at a time: two small matrix products in shared memory, fp32 sums.
//
// logits (32, width) = x_tile (32, d) . W1_block^T, slice by slice of d, the next slice on its way while one is used;
// then y (32, d) = activate(logits) . W2_block, 64 columns at a time. A block row is read once for 32 tokens, not for each.
// The product is on the CUDA cores in every dtype. All of it lies in dynamic shared memory: leaf_plan.py counts it.
#include "common.cuh"

#ifndef FFF_LEAF_WIDTH
#define FFF_LEAF_WIDTH 32
#endif

constexpr int kTile = 32;      // tokens
constexpr int kBlock = 128;    // threads: 16 across neurons or columns, 8 across tokens
constexpr int kNeurons = 32;   // neurons of a step
constexpr int kSlice = 32;     // elements of d of a step
constexpr int kColumns = 64;   // columns of y of a step
constexpr int kStride = kSlice + 1;  // rows of a slice fall on distinct banks
constexpr int kWidth = FFF_LEAF_WIDTH;
constexpr int kChunks = ceil_div(kWidth, kNeurons);
constexpr int kActStride = kChunks * kNeurons + 1;
constexpr int kSlices = ceil_div(kD, kSlice);
constexpr int kQuads = kTile * kSlice / 4 / kBlock;            // groups of 4 elements a thread moves of a slice
constexpr int kOutQuads = kNeurons * kColumns / 4 / kBlock;
static_assert(kTile == kNeurons, "a slice of tokens and a slice of neurons are moved alike");

// Four elements of a row from `column` on, zeros past its end or where the row is not wanted.
__device__ __forceinline__ void load4(const scalar* row, int column, bool wanted, float (&out)[4]) {
    if constexpr (FFF_ALIGNED) {  // d is then a multiple of 4, and so is every column asked for
        Vector<4> v;
        v.clear();
        if (wanted && column < kD) v.load(row + column);
        v.widen(out);
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) out[i] = wanted && column + i < kD ? to_float(row[column + i]) : 0.0f;
    }
}

extern "C" __global__ void __launch_bounds__(kBlock)
fff_leaf_tile(const scalar* __restrict__ x, const scalar* __restrict__ w1, const scalar* __restrict__ w2,
              scalar* __restrict__ y, const int* __restrict__ order, const int* __restrict__ first_token,
              const int* __restrict__ first_tile, int leaves
              FFF_IF_B1(, const scalar* __restrict__ b1)
              FFF_IF_B2(, const scalar* __restrict__ b2)) {
    extern __shared__ float memory[];
    float* xs = memory;                          // [kTile][kStride]
    float* ws = xs + kTile * kStride;            // [kNeurons][kStride]
    float* act = ws + kNeurons * kStride;        // [kTile][kActStride]
    float* columns = act + kTile * kActStride;   // [kNeurons][kColumns]
    const int tile = blockIdx.x;
    if (tile >= first_tile[leaves]) return;  // the grid is sized for the worst spread of tokens
    int leaf = 0;
    for (int above = leaves; above - leaf > 1;) {  // the last leaf whose first tile is not beyond this one
        const int middle = (leaf + above) / 2;
        if (first_tile[middle] <= tile) leaf = middle; else above = middle;
    }
    const int from = first_token[leaf] + (tile - first_tile[leaf]) * kTile;
    const int count = min(kTile, first_token[leaf + 1] - from);
    const scalar* block1 = w1 + (i64(leaves) - 1 + i64(leaf) * kWidth) * kD;
    const scalar* block2 = w2 + i64(leaf) * kWidth * kD;

    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    const int quad = threadIdx.x % (kSlice / 4) * 4, line = threadIdx.x / (kSlice / 4);  // what this thread moves
    constexpr int kLines = kBlock / (kSlice / 4);                                         // rows apart
    const scalar* token_row[kQuads];
#pragma unroll
    for (int q = 0; q < kQuads; ++q) {
        const int t = line + q * kLines;
        token_row[q] = x + i64(t < count ? order[from + t] : 0) * kD;
    }
    for (int chunk = 0; chunk < kChunks; ++chunk) {
        float sums[4][2] = {};
#if FFF_B1
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int neuron = chunk * kNeurons + tx + 16 * j;
            const i64 place = i64(leaves) - 1 + i64(leaf) * kWidth + neuron;
            sums[0][j] = sums[1][j] = sums[2][j] = sums[3][j] = neuron < kWidth ? bias_of(b1, place) : 0.0f;
        }
#endif
        float xq[kQuads][4], wq[kQuads][4];
        auto fetch = [&](int slice) {
#pragma unroll
            for (int q = 0; q < kQuads; ++q) {
                const int row = line + q * kLines, neuron = chunk * kNeurons + row;
                load4(token_row[q], slice * kSlice + quad, row < count, xq[q]);
                load4(block1 + i64(neuron) * kD, slice * kSlice + quad, neuron < kWidth, wq[q]);
            }
        };
        fetch(0);
        for (int slice = 0; slice < kSlices; ++slice) {
            __syncthreads();  // the slice before is used up
#pragma unroll
            for (int q = 0; q < kQuads; ++q)
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    xs[(line + q * kLines) * kStride + quad + i] = xq[q][i];
                    ws[(line + q * kLines) * kStride + quad + i] = wq[q][i];
                }
            __syncthreads();
            if (slice + 1 < kSlices) fetch(slice + 1);
#pragma unroll 8
            for (int k = 0; k < kSlice; ++k) {
                float a[4], b[2];
#pragma unroll
                for (int i = 0; i < 4; ++i) a[i] = xs[(ty + 8 * i) * kStride + k];
#pragma unroll
                for (int j = 0; j < 2; ++j) b[j] = ws[(tx + 16 * j) * kStride + k];
#pragma unroll
                for (int i = 0; i < 4; ++i)
#pragma unroll
                    for (int j = 0; j < 2; ++j) sums[i][j] += a[i] * b[j];
            }
        }
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 2; ++j)  // a neuron that is not there has logit 0 and activation 0
                act[(ty + 8 * i) * kActStride + chunk * kNeurons + tx + 16 * j] = activate(sums[i][j]);
    }
    for (int column = 0; column < kD; column += kColumns) {
        float sums[4][4] = {};
#if FFF_B2
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int at = column + tx * 4 + j;
            sums[0][j] = sums[1][j] = sums[2][j] = sums[3][j] = at < kD ? bias_of(b2, i64(leaf) * kD + at) : 0.0f;
        }
#endif
        for (int chunk = 0; chunk < kChunks; ++chunk) {
            __syncthreads();  // activations are written; the columns before are used up
#pragma unroll
            for (int q = 0; q < kOutQuads; ++q) {
                const int at = (int(threadIdx.x) + q * kBlock) * 4, row = at / kColumns, neuron = chunk * kNeurons + row;
                float four[4];
                load4(block2 + i64(neuron) * kD, column + at % kColumns, neuron < kWidth, four);
#pragma unroll
                for (int i = 0; i < 4; ++i) columns[at + i] = four[i];
            }
            __syncthreads();
#pragma unroll 8
            for (int k = 0; k < kNeurons; ++k) {
                float a[4], b[4];
#pragma unroll
                for (int i = 0; i < 4; ++i) a[i] = act[(ty + 8 * i) * kActStride + chunk * kNeurons + k];
#pragma unroll
                for (int j = 0; j < 4; ++j) b[j] = columns[k * kColumns + tx * 4 + j];
#pragma unroll
                for (int i = 0; i < 4; ++i)
#pragma unroll
                    for (int j = 0; j < 4; ++j) sums[i][j] += a[i] * b[j];
            }
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int t = ty + 8 * i, at = column + tx * 4;
            if (t >= count || at >= kD) continue;
            scalar* to = y + i64(order[from + t]) * kD + at;
            if constexpr (FFF_ALIGNED) {
                Vector<4> v;
                v.narrow(sums[i]);
                v.store(to);
            } else {
                for (int j = 0; j < 4 && at + j < kD; ++j) to[j] = to_scalar(sums[i][j]);
            }
        }
    }
}
