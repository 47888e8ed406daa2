// How is a leaf FFF call carried out: by which strategy, in which pieces, by how many workers?
#include "ops/leaf/call.hpp"

#include <algorithm>
#include <limits>

#include "runtime/op.hpp"
#include "runtime/pool.hpp"

namespace fffbench {

FFFBENCH_TABLES(leaf, LeafIsa)

namespace {

constexpr std::int64_t MAX_INDEX = std::numeric_limits<std::int32_t>::max();

// A worker is given at least this much to read: below it, waking a thread costs more than it saves (as in plan.cpp).
constexpr std::int64_t BYTES_PER_WORKER = 512 * 1024;

// y beyond this is written past the caches (as in plan.cpp).
constexpr std::int64_t STREAM_BYTES = 4 << 20;

// Tokens a leaf from which sorting pays with cold caches: below it too few share a block (docs/notebook/kernels.md).
constexpr std::int64_t BUCKET_TOKENS_PER_LEAF = 1;

constexpr std::int64_t ROUTED_AT_ONCE = 64;  // tokens of a work item of the first phase

void check_shape(const LeafShape& s) {
    if (s.batch < 0 || s.batch > MAX_INDEX) throw std::invalid_argument("batch must be from 0 to 2**31 - 1");
    if (s.d < 1 || s.d > MAX_INDEX) throw std::invalid_argument("d must be from 1 to 2**31 - 1");
    if (s.levels < 0 || s.levels > MAX_LEVELS) throw std::invalid_argument("levels must be from 0 to 24");
    if (s.threads < 1 || s.threads > MAX_THREADS) throw std::invalid_argument("threads must be from 1 to 1024");
    if (s.width < 1 || s.width > MAX_INDEX >> s.levels)
        throw std::invalid_argument("leaf_width must be at least 1 and 2**levels * leaf_width below 2**31");
    const std::int64_t rows = (s.width + 1) << s.levels;  // routers and neurons of a tree, and one
    if (s.trees < 1 || s.trees > MAX_INDEX / rows)
        throw std::invalid_argument("trees must be at least 1 and trees * 2**levels * (leaf_width + 1) below 2**31");
}

LeafJob job_of(const LeafShape& s, Fault fault) {
    LeafJob job;
    job.batch = s.batch;
    job.d = s.d;
    job.trees = s.trees;
    job.levels = s.levels;
    job.nodes = (std::int64_t{1} << s.levels) - 1;
    job.width = s.width;
    job.act_stride = (s.width + LOGIT_PAD - 1) / LOGIT_PAD * LOGIT_PAD;
    job.fault = fault;
    return job;
}

Strategy strategy_for(const std::string& name, const LeafShape& s) {
    if (name == "walk") return Strategy::walk;
    if (name == "bucket") return Strategy::bucket;
    if (name != "auto")
        throw std::invalid_argument("strategy '" + name + "' is unknown; allowed: auto, walk, bucket");
    const bool shared = s.batch >= BUCKET_TOKENS_PER_LEAF << s.levels;
    return s.batch > 1 && shared ? Strategy::bucket : Strategy::walk;
}

}  // namespace

LeafCall::LeafCall(Address x, Address w1, Address w2, Address y, const LeafShape& shape, const std::string& strategy,
                   const std::string& isa, Fault fault)
    : x_(x), w1_(w1), w2_(w2), y_(y), isa_(&isa_named(isa)), kernels_(&leaf_kernels(*isa_, shape.dtype)),
      element_(shape.dtype == Dtype::bf16 ? 2 : 4) {
    check_shape(shape);
    job_ = job_of(shape, fault);
    strategy_ = strategy_for(strategy, shape);
    const bool bucket = strategy_ == Strategy::bucket;
    const std::int64_t row_bytes = shape.d * element_, active = shape.trees * shape.width;
    // in double: a product of five counts
    const double bytes = static_cast<double>(shape.batch) * static_cast<double>(shape.trees) *
                         static_cast<double>(2 * shape.width + shape.levels) * static_cast<double>(row_bytes);
    const double worth = std::max(1.0, bytes / BYTES_PER_WORKER);
    workers_ = worth < shape.threads ? static_cast<int>(worth) : shape.threads;
    if (!bucket && shape.batch > 0 && shape.batch < workers_) parts_ = std::min<std::int64_t>(active, workers_);
    job_.stream = bucket && shape.trees == 1 && shape.batch * row_bytes >= STREAM_BYTES && row_bytes % 64 == 0;

    const auto batch = static_cast<std::size_t>(shape.batch), d = static_cast<std::size_t>(shape.d);
    const auto trees = static_cast<std::size_t>(shape.trees), width = static_cast<std::size_t>(shape.width);
    const auto leaves = std::size_t{1} << shape.levels;
    const bool wide = shape.trees > 1 && shape.dtype == Dtype::bf16;
    const auto tokens = static_cast<std::size_t>(bucket ? LEAF_TOKENS : 1);
    const auto act = checked_product(tokens, static_cast<std::size_t>(job_.act_stride));
    const auto sums = bucket && wide ? checked_product(batch, d) : 0;
    const auto partials =
        parts_ > 1 ? checked_product(checked_product(batch, d), static_cast<std::size_t>(parts_)) : 0;
    const auto place = [&](auto&& part) {
        job_.leaf = part.template operator()<std::int32_t>(bucket ? checked_product(batch, trees) : 0);
        job_.sums = part.template operator()<float>(sums);
        order_ = part.template operator()<std::int32_t>(bucket ? batch : 0);
        counts_ = part.template operator()<std::int64_t>(bucket ? leaves + 1 : 0);
        partials_ = part.template operator()<float>(partials);
        for (auto& scratch : scratch_) {
            scratch.act = part.template operator()<float>(act);
            scratch.rows = part.template operator()<const void*>(width);
            scratch.sum = part.template operator()<float>(wide && !bucket ? d : 0);
        }
    };
    scratch_.resize(static_cast<std::size_t>(workers_));
    place([this]<class T>(std::size_t count) -> T* {
        workspace_.reserve<T>(count);
        return nullptr;
    });
    workspace_.allocate();
    place([this]<class T>(std::size_t count) { return workspace_.take<T>(count); });
    if (sums == 0) job_.sums = nullptr;
    if (bucket) tiles_.reserve(std::min(leaves, batch) + batch / LEAF_TOKENS + 1);
    reserve_threads(workers_);
}

// work(item, next item or -1, scratch) for every item, handed out in order to whichever worker is free.
template <class F>
void LeafCall::for_items(std::int64_t count, F work) {
    for_each_item_ahead(workers_, count, [&](int worker, std::int64_t item, std::int64_t next) {
        work(item, next, scratch_[static_cast<std::size_t>(worker)]);
    });
}

void LeafCall::run_on(Address x, Address w1, Address w2, Address y, const Extras& extras) {
    const std::lock_guard lock(busy_);
    if (job_.batch == 0) return;
    if (x == 0 || w1 == 0 || w2 == 0 || y == 0) throw std::invalid_argument("x, w1, w2 and y must not be null");
    LeafJob job = job_;
    job.x = reinterpret_cast<const void*>(x);
    job.w1 = reinterpret_cast<const void*>(w1);
    job.w2 = reinterpret_cast<const void*>(w2);
    job.y = reinterpret_cast<void*>(y);
    set_extras(job, extras);
    job.stream = job.stream && y % ALIGNMENT == 0;
    if (strategy_ == Strategy::walk)
        run_walk(job);
    else
        run_bucket(job);
}

void LeafCall::run_walk(const LeafJob& job) {
    const std::int64_t neurons = job.trees * job.width;
    for_items(job.batch * parts_, [&](std::int64_t i, std::int64_t, const LeafScratch& scratch) {
        const std::int64_t part = i % parts_;
        const LeafPart piece{i / parts_, neurons * part / parts_, neurons * (part + 1) / parts_,
                             parts_ > 1 ? partials_ + i * job.d : nullptr};
        kernels_->leaf->token(job, scratch, piece);
    });
    if (parts_ == 1) return;
    for (std::int64_t token = 0; token < job.batch; ++token)
        kernels_->sum_partials(static_cast<char*>(job.y) + token * job.d * element_,
                               partials_ + token * parts_ * job.d, parts_, job.d, job.d);
}

// Counting sort: stable, so the tiles do not depend on which worker routed what.
void LeafCall::sort_by_leaf(const LeafJob& job, std::int64_t tree) {
    const std::int32_t* leaf = job.leaf + tree * job.batch;
    const std::int64_t leaves = job.nodes + 1;
    std::fill(counts_, counts_ + leaves + 1, 0);
    for (std::int64_t t = 0; t < job.batch; ++t) ++counts_[leaf[t] + 1];
    tiles_.clear();
    for (std::int64_t l = 0; l < leaves; ++l) {
        for (std::int64_t at = 0; at < counts_[l + 1]; at += LEAF_TOKENS)
            tiles_.push_back({tree, l, order_ + counts_[l] + at,
                              static_cast<int>(std::min<std::int64_t>(LEAF_TOKENS, counts_[l + 1] - at))});
        counts_[l + 1] += counts_[l];
    }
    for (std::int64_t t = 0; t < job.batch; ++t) order_[counts_[leaf[t]]++] = static_cast<std::int32_t>(t);
}

void LeafCall::run_bucket(const LeafJob& job) {
    const std::int64_t blocks = (job.batch + ROUTED_AT_ONCE - 1) / ROUTED_AT_ONCE;
    for_items(blocks, [&](std::int64_t i, std::int64_t, const LeafScratch&) {
        kernels_->leaf->route(job, i * ROUTED_AT_ONCE, std::min((i + 1) * ROUTED_AT_ONCE, job.batch));
    });
    for (std::int64_t tree = 0; tree < job.trees; ++tree) {  // one after the other: a token's sum has one owner
        sort_by_leaf(job, tree);
        const auto tile = [&](std::int64_t i) { return &tiles_[static_cast<std::size_t>(i)]; };
        for_items(static_cast<std::int64_t>(tiles_.size()),
                  [&](std::int64_t i, std::int64_t next, const LeafScratch& scratch) {
                      kernels_->leaf->tile(job, scratch, *tile(i), next < 0 ? nullptr : tile(next));
                  });
    }
    if (job.sums != nullptr) kernels_->sum_partials(job.y, job.sums, 1, 0, job.batch * job.d);
}

}  // namespace fffbench

FFFBENCH_OP(leaf) {
    using namespace fffbench;
    call_class<LeafCall>(m, "LeafCall", "A leaf FFF of one shape, planned, with its workspace.")
        .def("__init__",
             [](LeafCall* at, Address x, Address w1, Address w2, Address y, std::int64_t batch, std::int64_t d,
                std::int64_t trees, int levels, std::int64_t leaf_width, int threads, const std::string& strategy,
                const std::string& isa, const std::string& dtype FFFBENCH_FAULT_PARAMETER) {
                 const LeafShape shape{batch, d, trees, levels, leaf_width, threads, dtype_named(dtype)};
                 new (at) LeafCall(x, w1, w2, y, shape, strategy, isa, FFFBENCH_FAULT);
             },
             "x"_a, "w1"_a, "w2"_a, "y"_a, "batch"_a, "d"_a, "trees"_a, "levels"_a, "leaf_width"_a, "threads"_a = 1,
             "strategy"_a = "auto", "isa"_a = "auto", "dtype"_a = "fp32" FFFBENCH_FAULT_NAME)
        .def("run_on", run_on<LeafCall, Address, Address, Address, Address>, Unlocked(), "x"_a, "w1"_a, "w2"_a, "y"_a,
             "The same with other tensors.")
        .def("run_with", run_with<LeafCall>, Unlocked(), "x"_a, "w1"_a, "w2"_a, "y"_a, "b1"_a, "b2"_a, "activation"_a,
             "The same with biases (0: none) and an activation, one of fffbench.activations.")
        .def_prop_ro("strategy", &LeafCall::strategy)
        .def_prop_ro("workers", &LeafCall::threads, "Threads that get work; a small call wakes fewer than it may.");
}
