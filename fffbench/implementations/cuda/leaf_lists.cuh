// Which tokens make up a tile of one leaf? tensor_top.cu leaves a list of tokens for each leaf, and how long it is.
#pragma once
#include "tensor.cuh"

#ifndef FFF_LEAF_WIDTH
#define FFF_LEAF_WIDTH 32
#endif

constexpr int kWidth = FFF_LEAF_WIDTH;
constexpr int kLeaves = 1 << FFF_TOP;

// The leaf and the first place in its list of tile number `tile`; leaf -1 past the last tile. One warp.
__device__ __forceinline__ void find_leaf(const int* counts, int tile, int* found) {
    const int lane = threadIdx.x;
    int before = 0;
    for (int from = 0; from < kLeaves; from += kWarp) {
        const int count = from + lane < kLeaves ? __ldcg(counts + from + lane) : 0, tiles = ceil_div(count, kTile);
        int upto = tiles;
#pragma unroll
        for (int offset = 1; offset < kWarp; offset *= 2) {
            const int other = __shfl_up_sync(0xffffffffu, upto, offset);
            if (lane >= offset) upto += other;
        }
        const int mine = before + upto - tiles;
        if (tile >= mine && tile < mine + tiles) {
            found[0] = from + lane;
            found[1] = (tile - mine) * kTile;
            found[2] = count;
        }
        before += __shfl_sync(0xffffffffu, upto, kWarp - 1);
    }
}
