// Where does a call keep its intermediate results? In one aligned block, allocated and touched before it runs.
#pragma once
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>

namespace fffbench {

constexpr std::size_t ALIGNMENT = 64;

inline std::size_t checked_product(std::size_t a, std::size_t b) {
    std::size_t product = 0;
    if (__builtin_mul_overflow(a, b, &product) || product > std::numeric_limits<std::size_t>::max() / 4)
        throw std::bad_alloc();
    return product;
}

class Workspace {
public:
    // Two passes: reserve() every part, allocate(), then take() them in the same order.
    template <class T>
    void reserve(std::size_t count) {
        bytes_ += (checked_product(count, sizeof(T)) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    void allocate() {
        block_.reset(static_cast<char*>(::operator new(bytes_ + ALIGNMENT, std::align_val_t{ALIGNMENT})));
        std::memset(block_.get(), 0, bytes_);
    }
    template <class T>
    T* take(std::size_t count) {
        T* part = reinterpret_cast<T*>(block_.get() + taken_);
        taken_ += (count * sizeof(T) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        return part;
    }
    std::size_t bytes() const { return bytes_; }

private:
    struct Release {
        void operator()(char* p) const { ::operator delete(p, std::align_val_t{ALIGNMENT}); }
    };
    std::unique_ptr<char, Release> block_;
    std::size_t bytes_ = 0, taken_ = 0;
};

}  // namespace fffbench
