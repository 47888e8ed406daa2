// How are many tokens brought together by the leaf they reach? A counting sort in three launches.
//
// fff_leaf_route finds each token's leaf and its rank among that leaf's tokens, fff_leaf_scan adds up the counts of the
// leaves (and clears them for the next call), fff_leaf_place writes each token where it belongs. Ranks are handed out
// by atomics: a token's place varies from run to run, its result does not.
#include "common.cuh"

constexpr int kRouteBlock = 256;
constexpr int kScanBlock = 1024;
constexpr int kTile = 32;  // tokens that leaf_tile.cu takes at once
constexpr int kPieces = ceil_div(kD, kVector * kWarp);

// A warp to a token.
extern "C" __global__ void __launch_bounds__(kRouteBlock)
fff_leaf_route(const scalar* __restrict__ x, const scalar* __restrict__ w1, int* __restrict__ leaf,
               int* __restrict__ rank, int* counts, int batch, int levels
               FFF_IF_B1(, const scalar* __restrict__ b1)) {
    const int lane = threadIdx.x % kWarp;
    const i64 token = (i64(blockIdx.x) * kRouteBlock + threadIdx.x) / kWarp;
    if (token >= batch) return;
    int node = 0;
    for (int level = 0; level < levels; ++level) {
        const scalar* row = w1 + i64(node) * kD;
        FFF_IF_B1(const float bias = bias_of(b1, node);)
        float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 4
        for (int p = 0; p < kPieces; ++p) {
            const int column = (p * kWarp + lane) * kVector;
            Vector<kVector> u, v;
            u.clear();
            v.clear();
            if (column < kD) {
                u.load(x + token * kD + column);
                v.load(row + column);
            }
            float us[kVector], vs[kVector];
            u.widen(us);
            v.widen(vs);
#pragma unroll
            for (int i = 0; i < kVector; ++i) sums[i % 4] += us[i] * vs[i];
        }
        node = 2 * node + 1 + (warp_sum((sums[0] + sums[1]) + (sums[2] + sums[3])) FFF_IF_B1(+ bias) > 0.0f);
    }
    if (lane == 0) {
        const int mine = node - ((1 << levels) - 1);
        leaf[token] = mine;
        rank[token] = atomicAdd(counts + mine, 1);
    }
}

// One block: before each leaf, how many tokens and how many tiles are there? `leaves + 1` entries each.
extern "C" __global__ void __launch_bounds__(kScanBlock)
fff_leaf_scan(int* counts, int* __restrict__ first_token, int* __restrict__ first_tile, int leaves) {
    __shared__ int token_sums[kScanBlock / kWarp], tile_sums[kScanBlock / kWarp];
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    int tokens_before = 0, tiles_before = 0;
    for (int from = 0; from < leaves; from += kScanBlock) {
        const int at = from + int(threadIdx.x);
        const int count = at < leaves ? counts[at] : 0;
        int tokens = count, tiles = ceil_div(count, kTile);
        const int own_tiles = tiles;
#pragma unroll
        for (int offset = 1; offset < kWarp; offset *= 2) {
            const int a = __shfl_up_sync(0xffffffffu, tokens, offset), b = __shfl_up_sync(0xffffffffu, tiles, offset);
            if (lane >= offset) tokens += a, tiles += b;
        }
        if (lane == kWarp - 1) token_sums[warp] = tokens, tile_sums[warp] = tiles;
        __syncthreads();
        int token_base = tokens_before, tile_base = tiles_before, all_tokens = 0, all_tiles = 0;
        for (int w = 0; w < kScanBlock / kWarp; ++w) {
            if (w < warp) token_base += token_sums[w], tile_base += tile_sums[w];
            all_tokens += token_sums[w], all_tiles += tile_sums[w];
        }
        if (at < leaves) {
            first_token[at] = token_base + tokens - count;
            first_tile[at] = tile_base + tiles - own_tiles;
            counts[at] = 0;
        }
        tokens_before += all_tokens, tiles_before += all_tiles;
        __syncthreads();  // before the next round's sums replace these
    }
    if (threadIdx.x == 0) first_token[leaves] = tokens_before, first_tile[leaves] = tiles_before;
}

extern "C" __global__ void __launch_bounds__(kRouteBlock)
fff_leaf_place(const int* __restrict__ leaf, const int* __restrict__ rank, const int* __restrict__ first_token,
               int* __restrict__ order, int batch) {
    const i64 token = i64(blockIdx.x) * kRouteBlock + threadIdx.x;
    if (token < batch) order[first_token[leaf[token]] + rank[token]] = int(token);
}
