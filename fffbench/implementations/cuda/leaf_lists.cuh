// Which tokens make up a tile of one leaf? tensor_top.cu leaves a list of tokens for each leaf, and how long it is.
#pragma once
#include "tensor.cuh"

#ifndef FFF_LEAF_WIDTH
#define FFF_LEAF_WIDTH 32
#endif

constexpr int kWidth = FFF_LEAF_WIDTH;
constexpr int kLeaves = 1 << FFF_TOP;

__device__ __forceinline__ void find_leaf(const int* counts, int tile, int* found) {
    find_in_lists<kLeaves, kTile>(counts, tile, found);
}
