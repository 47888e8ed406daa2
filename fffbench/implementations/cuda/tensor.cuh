// How do tensor cores compute the logits of all nodes of a subtree for a tile of tokens?
//
// logits (kTile, kColumns) = x_tile (kTile, d) . W1_rows (kColumns, d)^T with mma.sync m16n8k16, fp32 accumulation.
// Both operands stream through shared memory in slices of 64 elements (128 bytes a row, 16-byte chunks exchanged by
// row so that neither cp.async nor ldmatrix meets a bank conflict). A warp takes 32 tokens and half the columns: reading
// fragments from shared memory is what binds, and 32 tokens use each node's fragment twice.
#pragma once
#include "common.cuh"

#if FFF_DTYPE == 0
#error "tensor.cuh is for 16-bit storage; fp32 has shared.cu"
#endif
#ifndef FFF_TILE
#define FFF_TILE 64  // tokens of a tile
#endif
#ifndef FFF_STAGES
#define FFF_STAGES 3  // slices in flight or in use
#endif
#ifndef FFF_TOP
#define FFF_TOP 6  // levels of the first kernel
#endif
#ifndef FFF_BOTTOM
#define FFF_BOTTOM 6  // levels of the second
#endif

constexpr int kTile = FFF_TILE;
constexpr int kStages = FFF_STAGES;
constexpr int kSlice = 64;           // elements of a row in a stage
constexpr int kSliceBytes = 128;
constexpr int kSlices = ceil_div(kD, kSlice);
constexpr int kThreads = kTile / 32 * 2 * kWarp;
constexpr int kMaxTop = 8;           // activations of the first kernel kept for a token: one 16-byte access

__host__ __device__ constexpr int columns_of(int levels) { return levels < 5 ? 32 : 1 << levels; }

__device__ __forceinline__ u32 shared_address(const void* p) { return u32(__cvta_generic_to_shared(p)); }

// 16 bytes of slice `slice` of a row, from its element `column` on; zeros past the end of the row.
__device__ __forceinline__ void copy16(u32 to, const scalar* from, int slice, int column) {
    if constexpr (kD % kSlice == 0) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from + slice * kSlice) : "memory");
    } else {
        const bool real = slice * kSlice + column < kD;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to),
                     "l"(real ? from + slice * kSlice : from - column), "r"(real ? 16 : 0)
                     : "memory");
    }
}
__device__ __forceinline__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
__device__ __forceinline__ void await() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

__device__ __forceinline__ void ldmatrix(u32 (&r)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}
__device__ __forceinline__ void ldmatrix_trans(u32 (&r)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}
__device__ __forceinline__ void mma(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#if FFF_DTYPE == 2
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
#endif
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Lane q of a quad holds words v[0..3] of 4 column blocks; afterwards it holds all 4 words of block q.
__device__ __forceinline__ void transpose_quad(u32 (&v)[4]) {
    const bool odd = threadIdx.x & 1, high = threadIdx.x & 2;
#pragma unroll
    for (int j = 0; j < 4; j += 2) {
        const u32 got = __shfl_xor_sync(0xffffffffu, odd ? v[j] : v[j + 1], 1);
        if (odd) v[j] = got; else v[j + 1] = got;
    }
#pragma unroll
    for (int j = 0; j < 2; ++j) {
        const u32 got = __shfl_xor_sync(0xffffffffu, high ? v[j] : v[j + 2], 2);
        if (high) v[j] = got; else v[j + 2] = got;
    }
}

// The sums of 64 columns of the output from `first` on, of which a warp has half, begin with a bias.
__device__ __forceinline__ void start_output(float (&sums)[2][4][4], int first, const scalar* bias) {
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
#pragma unroll
    for (int b = 0; b < 4; ++b)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int column = first + warp % 2 * 32 + b * 8 + lane % 4 * 2 + i;
            const float value = column < kD ? bias_of(bias, column) : 0.0f;
            sums[0][b][i] = sums[0][b][i + 2] = sums[1][b][i] = sums[1][b][i + 2] = value;
        }
}

// Byte offset of 16-byte chunk `chunk` of row `row` in a slice whose rows are 128 bytes.
__device__ __forceinline__ u32 swizzled(int row, int chunk) { return u32(row * kSliceBytes + ((chunk ^ (row & 7)) << 4)); }

template <int Columns>
struct Logits {
    static constexpr int kRows = kTile + Columns;  // tokens, then nodes
    static constexpr int kStageBytes = kRows * kSliceBytes;
    static constexpr int kCopies = ceil_div(kRows * 8, kThreads);
    static constexpr int kBlocks = Columns / 2 / 8;       // 8-wide column blocks of one warp
    static constexpr int kStride = Columns + 4;           // floats of a row of logits; rows fall on distinct banks
    static constexpr int kLogitBytes = kTile * kStride * 4;
    static_assert(kBlocks % 2 == 0, "columns come in sixteens");

    const scalar* source[kCopies];  // each thread copies one chunk of these rows, slice after slice
    float sums[2][kBlocks][4];

    // rows: index of the row of x (tokens) or W1 (nodes). A place without a token or node names any row: what it
    // computes is never read, and asking each time whether it is real costs more than the copy.
    __device__ __forceinline__ void begin(const scalar* x, const scalar* w1, const int* rows
                                          FFF_IF_B1(, const scalar* b1)) {
#pragma unroll
        for (int i = 0; i < kCopies; ++i) {
            const int row = (int(threadIdx.x) + i * kThreads) / 8;
            const int index = row < kRows ? rows[row] : 0;
            source[i] = (row < kTile ? x : w1) + i64(index) * kD + (threadIdx.x % 8) * 8;
        }
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int b = 0; b < kBlocks; ++b)
#pragma unroll
                for (int i = 0; i < 4; ++i) sums[m][b][i] = 0.0f;
        FFF_IF_B1(start([&](int column) { return bias_of(b1, rows[kTile + column]); });)
    }

    // The sums begin with the bias of their column.
    template <typename OfColumn>
    __device__ __forceinline__ void start(OfColumn bias) {
        const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
#pragma unroll
        for (int b = 0; b < kBlocks; ++b)
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const float value = bias(warp % 2 * (Columns / 2) + b * 8 + lane % 4 * 2 + i);
                sums[0][b][i] = sums[0][b][i + 2] = sums[1][b][i] = sums[1][b][i + 2] = value;
            }
    }

    __device__ __forceinline__ void copy(u32 stage, int slice) const {
        const u32 to = stage + swizzled(threadIdx.x / 8, threadIdx.x % 8);  // rows of one thread agree modulo 8
#pragma unroll
        for (int i = 0; i < kCopies; ++i) {
            if (kRows * 8 % kThreads == 0 || (int(threadIdx.x) + i * kThreads) / 8 < kRows)
                copy16(to + i * (kThreads / 8) * kSliceBytes, source[i], slice, threadIdx.x % 8 * 8);
        }
    }

    __device__ __forceinline__ void multiply(u32 stage) {
        const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
        const int first = warp / 2 * 32, column = warp % 2 * (Columns / 2);
        const u32 nodes = stage + kTile * kSliceBytes;
#pragma unroll
        for (int k = 0; k < kSlice / 16; ++k) {
            u32 a[2][4];
            ldmatrix(a[0], stage + swizzled(first + lane % 16, k * 2 + lane / 16));
            ldmatrix(a[1], stage + swizzled(first + 16 + lane % 16, k * 2 + lane / 16));
#pragma unroll
            for (int b = 0; b < kBlocks; b += 2) {
                u32 w[4];
                ldmatrix(w, nodes + swizzled(column + b * 8 + (lane & 7) + (lane & 16) / 2, k * 2 + (lane >> 3 & 1)));
#pragma unroll
                for (int m = 0; m < 2; ++m) {
                    mma(sums[m][b], a[m], w[0], w[1]);
                    mma(sums[m][b + 1], a[m], w[2], w[3]);
                }
            }
        }
    }

    __device__ __forceinline__ void write(float* logits) const {
        const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
        float* row = logits + (warp / 2 * 32 + lane / 4) * kStride + warp % 2 * (Columns / 2) + lane % 4 * 2;
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int b = 0; b < kBlocks; ++b) {
                float* to = row + m * 16 * kStride + b * 8;
                *reinterpret_cast<float2*>(to) = make_float2(sums[m][b][0], sums[m][b][1]);
                *reinterpret_cast<float2*>(to + 8 * kStride) = make_float2(sums[m][b][2], sums[m][b][3]);
            }
    }
};
