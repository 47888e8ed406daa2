// How is one token answered soonest? A block walks FFF_AHEAD levels at once: it reads every row that may be needed.
//
// A path of L levels is L dependent reads, each a trip to memory. A round here reads the 2**FFF_AHEAD - 1 rows of W1
// under the current node at once, one or more warps a row, reduces all their logits, and only then walks: L /
// FFF_AHEAD trips. The round's rows of W2 are asked for as soon as the walk knows them and are added after the next
// round's rows of W1 are under way. One block of FFF_BLOCK threads a token; trees run one after the other.
//
// Where the tokens together will touch most rows anyway, each block also sends for its share of W1 and W2 when it
// begins (the first `shares` blocks have one), so that later rounds find them in L2: a trip to DRAM takes much longer.
#include "common.cuh"

#ifndef FFF_AHEAD
#define FFF_AHEAD 4
#endif
#ifndef FFF_BLOCK
#define FFF_BLOCK 512
#endif
#ifndef FFF_OUT_VECTOR
#define FFF_OUT_VECTOR 2  // elements of y that a thread reads and writes at once; must divide d
#endif

constexpr int kRows = 1 << FFF_AHEAD;  // the rows of a round, and one idle slot
constexpr int kWarps = FFF_BLOCK / kWarp;
static_assert(kWarps % kRows == 0, "a block needs a whole number of warps for each row");
constexpr int kPerRow = kWarps / kRows;
constexpr int kLine = 128;  // bytes of L2 that are fetched together
constexpr int kPieces = ceil_div(kD, kVector * kPerRow * kWarp);
constexpr int kOutVector = FFF_OUT_VECTOR;
constexpr int kOutPieces = ceil_div(kD, kOutVector * FFF_BLOCK);
static_assert(kD % kOutVector == 0, "an output access must not straddle two rows");

// Fetches this block's of `shares` parts of `rows` rows into L2; blocks beyond have none.
__device__ __forceinline__ void send_for(const scalar* weights, i64 rows, int shares) {
    if (int(blockIdx.x) >= shares) return;
    const i64 lines = (rows * kD * int(sizeof(scalar)) + kLine - 1) / kLine;
    const i64 each = (lines + shares - 1) / shares, begin = blockIdx.x * each;
    const i64 end = begin + each < lines ? begin + each : lines;
    const char* bytes = reinterpret_cast<const char*>(weights);
    for (i64 line = begin + threadIdx.x; line < end; line += FFF_BLOCK)
        asm volatile("prefetch.global.L2 [%0];" ::"l"(bytes + line * kLine));
}

extern "C" __global__ void __launch_bounds__(FFF_BLOCK)
fff_latency(const scalar* __restrict__ x, const scalar* __restrict__ w1, const scalar* __restrict__ w2,
            scalar* __restrict__ y, int batch, int trees, int levels, int shares
            FFF_IF_B1(, const scalar* __restrict__ b1) FFF_IF_B2(, const scalar* __restrict__ b2)) {
    __shared__ float partial[2][kRows][kPerRow];
    const i64 token = blockIdx.x;
    const int warp = threadIdx.x / kWarp;
    const int local = warp / kPerRow;                                          // which row of the round
    const int lane = (warp % kPerRow) * kWarp + threadIdx.x % kWarp;           // which part of that row
    const int depth = 31 - __clz(local + 1);

    Vector<kVector> in[kPieces];
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
        const int column = (p * kPerRow * kWarp + lane) * kVector;
        in[p].clear();
        if (column < kD) in[p].load(x + token * kD + column);
    }
    float out[kOutPieces][kOutVector];
#pragma unroll
    for (int p = 0; p < kOutPieces; ++p)
#pragma unroll
        for (int i = 0; i < kOutVector; ++i) out[p][i] = 0.0f;
#if FFF_B2
#pragma unroll
    for (int p = 0; p < kOutPieces; ++p) {
        const int column = (p * FFF_BLOCK + int(threadIdx.x)) * kOutVector;
#pragma unroll
        for (int i = 0; i < kOutVector; ++i)
            if (column < kD) out[p][i] = bias_of(b2, column + i);
    }
#endif

    const i64 nodes = (i64(1) << levels) - 1;
    Vector<kOutVector> pending[FFF_AHEAD][kOutPieces];
    float activation[FFF_AHEAD];
#pragma unroll
    for (int a = 0; a < FFF_AHEAD; ++a) {
        activation[a] = 0.0f;
#pragma unroll
        for (int p = 0; p < kOutPieces; ++p) pending[a][p].clear();
    }
    int turn = 0;
    for (int tree = 0; tree < trees; ++tree) {
        i64 node = 0;
        for (int level = 0; level < levels; level += FFF_AHEAD) {
            const bool wanted = local < kRows - 1 && level + depth < levels;
            const scalar* row = w1 + (tree * nodes + ((node + 1) << depth) - 1 + (local + 1 - (1 << depth))) * kD;
#if FFF_B1  // added to this row's sum, once
            const i64 place = tree * nodes + ((node + 1) << depth) - 1 + (local + 1 - (1 << depth));
            const float bias = wanted && lane == 0 ? bias_of(b1, place) : 0.0f;
#endif
            Vector<kVector> w[kPieces];
#pragma unroll
            for (int p = 0; p < kPieces; ++p) {
                const int column = (p * kPerRow * kWarp + lane) * kVector;
                w[p].clear();
                if (wanted && column < kD) w[p].load(row + column);
            }
            if (tree == 0 && level == 0) {  // behind this token's own first rows
                send_for(w1, nodes * trees, shares);
                send_for(w2, nodes * trees, shares);
            }
            // The rows of W2 of the round before arrive while this round's rows of W1 are on their way.
#pragma unroll
            for (int a = 0; a < FFF_AHEAD; ++a)
#pragma unroll
                for (int p = 0; p < kOutPieces; ++p) {
                    float wide[kOutVector];
                    pending[a][p].widen(wide);
#pragma unroll
                    for (int i = 0; i < kOutVector; ++i) out[p][i] += activation[a] * wide[i];
                }
            float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
            for (int p = 0; p < kPieces; ++p) {
                float xs[kVector], ws[kVector];
                in[p].widen(xs);
                w[p].widen(ws);
#pragma unroll
                for (int i = 0; i < kVector; ++i) sums[i % 4] += xs[i] * ws[i];
            }
            const float sum = warp_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
            if (threadIdx.x % kWarp == 0) partial[turn][local][warp % kPerRow] = sum FFF_IF_B1(+ bias);
            __syncthreads();
            int at = 0;
#pragma unroll
            for (int a = 0; a < FFF_AHEAD; ++a) {
                const bool inside = level + a < levels;
                float z = 0.0f;
#pragma unroll
                for (int k = 0; k < kPerRow; ++k) z += partial[turn][at][k];
                const scalar* weights = w2 + (tree * nodes + node) * kD;
#pragma unroll
                for (int p = 0; p < kOutPieces; ++p) {
                    const int column = (p * FFF_BLOCK + int(threadIdx.x)) * kOutVector;
                    pending[a][p].clear();
                    if (inside && column < kD) pending[a][p].load(weights + column);
                }
                activation[a] = inside ? z : 0.0f;
                const int right = z > 0.0f;
                at = 2 * at + 1 + right;
                node = 2 * node + 1 + right;
                if (at >= kRows) at = 0;
            }
#pragma unroll
            for (int a = 0; a < FFF_AHEAD; ++a) activation[a] = activate(activation[a]);
            turn ^= 1;
        }
    }
#pragma unroll
    for (int p = 0; p < kOutPieces; ++p) {
        const int column = (p * FFF_BLOCK + int(threadIdx.x)) * kOutVector;
#pragma unroll
        for (int a = 0; a < FFF_AHEAD; ++a) {
            float wide[kOutVector];
            pending[a][p].widen(wide);
#pragma unroll
            for (int i = 0; i < kOutVector; ++i) out[p][i] += activation[a] * wide[i];
        }
        if (column < kD) {
            Vector<kOutVector> v;
            v.narrow(out[p]);
            v.store(y + token * kD + column);
        }
    }
}
