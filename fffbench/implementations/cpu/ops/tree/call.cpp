// How is a planned tree FFF call carried out: phases, work items, workers?
#include "ops/tree/call.hpp"

#include <algorithm>
#include <limits>

#include "runtime/op.hpp"
#include "runtime/pool.hpp"

namespace fffbench {

FFFBENCH_TABLES(tree, TreeKernels)

namespace {

constexpr std::int64_t MAX_INDEX = std::numeric_limits<std::int32_t>::max();

void check_shape(const FffShape& s) {
    if (s.batch < 0 || s.batch > MAX_INDEX) throw std::invalid_argument("batch must be from 0 to 2**31 - 1");
    if (s.d < 1 || s.d > MAX_INDEX) throw std::invalid_argument("d must be from 1 to 2**31 - 1");
    if (s.levels < 1 || s.levels > MAX_LEVELS) throw std::invalid_argument("levels must be from 1 to 24");
    if (s.threads < 1 || s.threads > MAX_THREADS) throw std::invalid_argument("threads must be from 1 to 1024");
    const std::int64_t nodes = (std::int64_t{1} << s.levels) - 1;
    if (s.trees < 1 || s.trees > MAX_INDEX / nodes)
        throw std::invalid_argument("trees must be at least 1 and trees * (2**levels - 1) below 2**31");
}

Job job_of(const FffShape& s) {
    Job job;
    job.batch = s.batch;
    job.d = s.d;
    job.trees = s.trees;
    job.levels = s.levels;
    job.nodes = (std::int64_t{1} << s.levels) - 1;
    job.logit_stride = (s.levels + LOGIT_PAD - 1) / LOGIT_PAD * LOGIT_PAD;
    return job;
}

void set_tensors(Job& job, Address x, Address w1, Address w2, Address y) {
    if (job.batch > 0 && (x == 0 || w1 == 0 || w2 == 0 || y == 0))
        throw std::invalid_argument("x, w1, w2 and y must not be null");
    job.x = reinterpret_cast<const void*>(x);
    job.w1 = reinterpret_cast<const void*>(w1);
    job.w2 = reinterpret_cast<const void*>(w2);
    job.y = reinterpret_cast<void*>(y);
}

// The tokens of the next work item, listed or `first` and up, and the node where it begins unless its rows are in use.
void expect(Errands& errands, const std::int32_t* tokens, std::int64_t first, std::int64_t count,
            std::int64_t node = -1) {
    errands.tokens = tokens;
    errands.first = first;
    errands.count = count;
    errands.done = 0;
    errands.node = node;
}

}  // namespace

FffCall::FffCall(Address x, Address w1, Address w2, Address y, const FffShape& shape, const std::string& strategy,
                 const std::string& isa, Fault fault)
    : x_(x), w1_(w1), w2_(w2), y_(y), isa_(&isa_named(isa)), dtype_(shape.dtype),
      kernels_(&tree_kernels(*isa_, shape.dtype)) {
    check_shape(shape);
    job_ = job_of(shape);
    job_.fault = fault;
    plan_ = make_plan(shape.batch, shape.d, shape.trees, shape.levels, shape.threads, shape.dtype, strategy);
    job_.top_levels = plan_.top_levels;
    job_.sparing = plan_.sparing;

    const auto batch = static_cast<std::size_t>(shape.batch), d = static_cast<std::size_t>(shape.d);
    const auto workers = static_cast<std::size_t>(plan_.workers);
    const bool bucket = plan_.strategy == Strategy::bucket;
    const bool two_phases = plan_.top_levels > 0;
    const auto buckets = std::size_t{1} << plan_.top_levels;
    const auto stride = static_cast<std::size_t>(job_.logit_stride);
    const bool wide = bucket && shape.trees > 1 && shape.dtype == Dtype::bf16;
    const auto parts = static_cast<std::size_t>(plan_.parts), phase = static_cast<std::size_t>(plan_.tokens);
    const auto row_floats = checked_product(d, wide && !two_phases ? static_cast<std::size_t>(plan_.block) : 1);
    const auto partial_floats = plan_.parts > 1 ? checked_product(checked_product(batch, d), parts)
                                : wide && two_phases ? checked_product(phase, d) : 0;
    const bool flat = bucket && shape.trees > 1 && !two_phases && shape.levels <= FLAT_LEVELS;
    const auto logit_rows = two_phases ? phase : bucket && !flat ? checked_product(batch, parts) : 0;
    const auto flat_rows = flat ? static_cast<std::size_t>(plan_.block) : 0;
    const auto flat_places = checked_product(flat_rows, static_cast<std::size_t>(flat_stride(shape.levels)));
    const auto place = [&](auto&& part) {
        job_.logits = part.template operator()<float>(checked_product(logit_rows, stride));
        job_.subtree = part.template operator()<std::int32_t>(two_phases ? phase : 0);
        job_.order = part.template operator()<std::int32_t>(two_phases ? phase : 0);
        places_ = part.template operator()<std::int32_t>(
            two_phases ? checked_product((phase + static_cast<std::size_t>(plan_.block) - 1) / static_cast<std::size_t>(plan_.block), buckets) : 0);
        starts_ = part.template operator()<std::int64_t>(two_phases ? buckets : 0);
        partials_ = part.template operator()<float>(partial_floats);
        for (auto& scratch : scratch_) {
            scratch.row = part.template operator()<float>(row_floats);
            scratch.tokens = part.template operator()<std::int32_t>(bucket ? CHUNK : 0);
            scratch.lists = part.template operator()<std::int32_t>(bucket ? LISTS * LIST_STRIDE : 0);
            scratch.act = part.template operator()<float>(flat_places);
            scratch.rows = part.template operator()<std::int32_t>(flat_places);
            scratch.leaves = part.template operator()<std::int32_t>(flat_rows);
        }
    };
    scratch_.resize(workers);
    place([this]<class T>(std::size_t count) -> T* {
        workspace_.reserve<T>(count);
        return nullptr;
    });
    workspace_.allocate();
    place([this]<class T>(std::size_t count) { return workspace_.take<T>(count); });
    if (two_phases) items_.reserve(buckets + phase / static_cast<std::size_t>(plan_.item) + 1);
    reserve_threads(plan_.workers);
}

// work(item, next item or -1, scratch) for every item, handed out in order to whichever worker is free. A worker that
// knows its next item before it starts on one can fetch the next one's tokens meanwhile.
template <class F>
void FffCall::for_items(std::int64_t count, F work) {
    for (Scratch& scratch : scratch_) scratch.errands = {};
    for_each_item_ahead(plan_.workers, count, [&](int worker, std::int64_t item, std::int64_t next) {
        work(item, next, scratch_[static_cast<std::size_t>(worker)]);
    });
}

void FffCall::run_on(Address x, Address w1, Address w2, Address y, const Extras& extras) {
    const std::lock_guard lock(busy_);
    Job job = job_;
    set_tensors(job, x, w1, w2, y);
    set_extras(job, extras);
    if (job.batch == 0) return;
    job.stream = plan_.stream && y % ALIGNMENT == 0;
    if (plan_.strategy == Strategy::walk)
        run_walk(job);
    else if (plan_.top_levels == 0)
        job.trees == 1 ? run_direct(job) : run_forest(job);
    else
        run_trees_in_turn(job);
}

void FffCall::run_walk(const Job& job) {
    if (plan_.parts == 1) {
        for_items((job.batch + plan_.item - 1) / plan_.item, [&](std::int64_t i, std::int64_t, const Scratch& scratch) {
            const std::int64_t begin = i * plan_.item, end = std::min(begin + plan_.item, job.batch);
            kernels_->walk(job, scratch, {begin, end, 0, job.trees, nullptr});
        });
        return;
    }
    const std::int64_t parts = plan_.parts;
    for_items(job.batch * parts, [&](std::int64_t i, std::int64_t, const Scratch& scratch) {
        const std::int64_t token = i / parts, part = i % parts;
        const WalkItem item{token, token + 1, job.trees * part / parts, job.trees * (part + 1) / parts,
                            partials_ + i * job.d};
        kernels_->walk(job, scratch, item);
    });
    sum_parts(job, parts, parts * job.d, job.d);
}

// y = the sum of `parts` rows of partials_ for every token.
void FffCall::sum_parts(const Job& job, std::int64_t parts, std::int64_t token_stride, std::int64_t part_stride) {
    const std::int64_t item = std::max<std::int64_t>(1, job.batch / (plan_.workers * 4));
    for_items((job.batch + item - 1) / item, [&](std::int64_t i, std::int64_t, const Scratch&) {
        for (std::int64_t token = i * item; token < std::min((i + 1) * item, job.batch); ++token)
            kernels_->sum_partials(static_cast<char*>(job.y) + token * job.d * element(), partials_ + token * token_stride,
                                   parts, part_stride, job.d);
    });
}

void FffCall::run_direct(const Job& job) {
    for_items(blocks(job), [&](std::int64_t i, std::int64_t, const Scratch& scratch) {
        const std::int64_t begin = i * plan_.block, end = std::min(begin + plan_.block, job.batch);
        std::int32_t tokens[CHUNK];
        for (std::int64_t t = begin; t < end; ++t) tokens[t - begin] = static_cast<std::int32_t>(t);
        kernels_->bottom(job, scratch, 0, tokens, static_cast<int>(end - begin));
    });
}

// Several shallow trees: a work item is a block of tokens in a part of the trees. Where blocks are fewer than workers
// the trees are split too, each part sums on its own, and the sums are added up.
void FffCall::run_forest(const Job& job) {
    const std::int64_t parts = plan_.parts;
    for_items(blocks(job) * parts, [&](std::int64_t i, std::int64_t, const Scratch& scratch) {
        const std::int64_t part = i % parts, begin = i / parts * plan_.block;
        Job mine = job;
        if (part > 0) mine.b2 = nullptr;  // a token's sum starts from it once
        if (job.levels > FLAT_LEVELS) mine.logits += part * job.batch * job.logit_stride;
        float* sums = parts == 1 ? nullptr : partials_ + (part * job.batch + begin) * job.d;
        kernels_->forest(mine, scratch, {begin, std::min(begin + plan_.block, job.batch), job.trees * part / parts,
                                         job.trees * (part + 1) / parts, sums});
    });
    if (parts > 1) sum_parts(job, parts, job.d, job.batch * job.d);
}

// Deep trees: so many tokens that x and y stay in the last-level cache go through one tree after the other, each in two
// phases, so that a tree's weights are read once for all of them.
void FffCall::run_trees_in_turn(const Job& job) {
    const auto at = [](const void* tensor, std::int64_t bytes) { return static_cast<const char*>(tensor) + bytes; };
    for (std::int64_t begin = 0; begin < job.batch; begin += plan_.tokens) {
        Job mine = job;
        mine.batch = std::min(plan_.tokens, job.batch - begin);
        mine.trees = 1;
        mine.x = at(job.x, begin * job.d * element());
        mine.y = static_cast<char*>(job.y) + begin * job.d * element();
        if (job.trees > 1 && dtype_ == Dtype::bf16) mine.sums = partials_;
        for (std::int64_t tree = 0; tree < job.trees; ++tree) {
            mine.w1 = at(job.w1, tree * job.nodes * job.d * element());
            mine.w2 = at(job.w2, tree * job.nodes * job.d * element());
            if (job.b1 != nullptr) mine.b1 = at(job.b1, tree * job.nodes * element());
            mine.add = tree > 0;
            run_two_phases(mine);
        }
        if (mine.sums != nullptr) sum_parts(mine, 1, job.d, 0);
    }
}

void FffCall::run_two_phases(const Job& job) {
    const auto end_of = [&](std::int64_t block) { return std::min((block + 1) * plan_.block, job.batch); };
    const std::int64_t subtrees = std::int64_t{1} << plan_.top_levels;
    for_items(blocks(job), [&](std::int64_t i, std::int64_t next, const Scratch& scratch) {
        if (next >= 0) expect(scratch.errands, nullptr, next * plan_.block, end_of(next) - next * plan_.block);
        kernels_->top(job, scratch, i * plan_.block, end_of(i), places_ + i * subtrees);
    });
    sort_by_subtree(job);
    for_items(static_cast<std::int64_t>(items_.size()), [&](std::int64_t i, std::int64_t next, const Scratch& scratch) {
        const BucketItem& item = items_[static_cast<std::size_t>(i)];
        if (next >= 0 && !job.sparing) {
            const BucketItem& coming = items_[static_cast<std::size_t>(next)];
            expect(scratch.errands, job.order + coming.begin, 0, coming.count, coming.node);
        }
        kernels_->bottom(job, scratch, item.node, job.order + item.begin, item.count);
    });
}

// A stable counting sort, so the outcome does not depend on which worker did what. The blocks have counted, and every
// block's tokens find their places by themselves: done serially this took 75 us of a 1.5 ms call on 16 cores.
void FffCall::sort_by_subtree(const Job& job) {
    const std::int64_t subtrees = std::int64_t{1} << plan_.top_levels;
    std::fill(starts_, starts_ + subtrees, 0);
    for (std::int64_t block = 0; block < blocks(job); ++block)
        for (std::int64_t s = 0; s < subtrees; ++s) {
            std::int32_t& place = places_[block * subtrees + s];
            const std::int32_t count = place;
            place = static_cast<std::int32_t>(starts_[s]);
            starts_[s] += count;
        }
    items_.clear();
    std::int64_t begin = 0;
    for (std::int64_t s = 0; s < subtrees; ++s) {
        const std::int64_t count = starts_[s];
        for (std::int64_t at = 0; at < count; at += plan_.item)
            items_.push_back({static_cast<std::int32_t>(subtrees - 1 + s), begin + at,
                              static_cast<int>(std::min<std::int64_t>(plan_.item, count - at))});
        starts_[s] = begin;
        begin += count;
    }
    if (plan_.workers > 1)  // a large item that comes last would keep one worker busy alone
        std::ranges::sort(items_, [](const BucketItem& a, const BucketItem& b) {
            return a.count != b.count ? a.count > b.count : a.begin < b.begin;
        });
    const std::int64_t parts = plan_.workers;
    for_items(parts, [&](std::int64_t part, std::int64_t, const Scratch&) {
        for (std::int64_t block = blocks(job) * part / parts; block < blocks(job) * (part + 1) / parts; ++block) {
            std::int32_t* places = places_ + block * subtrees;
            for (std::int64_t t = block * plan_.block; t < std::min((block + 1) * plan_.block, job.batch); ++t) {
                const std::int32_t s = job.subtree[t];
                job.order[starts_[s] + places[s]++] = static_cast<std::int32_t>(t);
            }
        }
    });
}

void visited_path(Address x, Address w1, Address b1, const FffShape& shape, const std::string& isa, Address out) {
    check_shape(shape);
    const TreeKernels& kernels = tree_kernels(isa_named(isa), shape.dtype);
    Job job = job_of(shape);
    set_tensors(job, x, w1, w1, out);
    job.b1 = reinterpret_cast<const void*>(b1);
    job.path = reinterpret_cast<std::int32_t*>(out);
    const std::int64_t items = std::min<std::int64_t>(shape.threads, shape.batch);
    for_each_item(shape.threads, items, [&](std::int64_t i) {
        const WalkItem item{job.batch * i / items, job.batch * (i + 1) / items, 0, job.trees, nullptr};
        kernels.walk(job, Scratch{}, item);
    });
}

}  // namespace fffbench

FFFBENCH_OP(tree) {
    using namespace fffbench;
    call_class<FffCall>(m, "FffCall", "A tree FFF of one shape, planned, with its workspace.")
        .def("__init__",
             [](FffCall* at, Address x, Address w1, Address w2, Address y, std::int64_t batch, std::int64_t d,
                std::int64_t trees, int levels, int threads, const std::string& strategy, const std::string& isa,
                const std::string& dtype FFFBENCH_FAULT_PARAMETER) {
                 const FffShape shape{batch, d, trees, levels, threads, dtype_named(dtype)};
                 new (at) FffCall(x, w1, w2, y, shape, strategy, isa, FFFBENCH_FAULT);
             },
             "x"_a, "w1"_a, "w2"_a, "y"_a, "batch"_a, "d"_a, "trees"_a, "levels"_a, "threads"_a = 1,
             "strategy"_a = "auto", "isa"_a = "auto", "dtype"_a = "fp32" FFFBENCH_FAULT_NAME)
        .def("run_on", run_on<FffCall, Address, Address, Address, Address>, Unlocked(), "x"_a, "w1"_a, "w2"_a, "y"_a,
             "The same with other tensors.")
        .def("run_with", run_with<FffCall>, Unlocked(), "x"_a, "w1"_a, "w2"_a, "y"_a, "b1"_a, "b2"_a, "activation"_a,
             "The same with biases (0: none) and an activation, one of fffbench.activations.")
        .def_prop_ro("strategy", &FffCall::strategy)
        .def_prop_ro("workers", &FffCall::threads, "Threads that get work; a small call wakes fewer than it may.");
    m.def("path",
          [](Address x, Address w1, std::int64_t batch, std::int64_t d, std::int64_t trees, int levels, int threads,
             const std::string& isa, const std::string& dtype, Address out, Address b1) {
              visited_path(x, w1, b1, {batch, d, trees, levels, threads, dtype_named(dtype)}, isa, out);
          },
          Unlocked(), "x"_a, "w1"_a, "batch"_a, "d"_a, "trees"_a, "levels"_a, "threads"_a, "isa"_a, "dtype"_a, "out"_a,
          "b1"_a = 0,
          "Rows of W1 visited, int32 (batch, trees * levels), written to `out`.");
}
