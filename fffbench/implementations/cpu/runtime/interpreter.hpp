// How does a kernel run without the interpreter's lock and still survive the interpreter's end?
//
// A daemon thread that asks for the lock of an interpreter that is shutting down is ended by pthread_exit, which unwinds
// through C++ frames that may not be unwound: the process aborts. So the interpreter waits, at its exit, for the calls
// under way, and calls that begin after that keep the lock.
#pragma once
#include <nanobind/nanobind.h>

#include <chrono>
#include <thread>

#include "runtime/pool.hpp"

namespace fffbench {

class WithoutInterpreter {
public:
    WithoutInterpreter() {
        if (closing_) return;
        if (generation_ != fork_generation()) {  // the calls that were under way in the parent end there
            generation_ = fork_generation();
            under_way_ = 0;
        }
        ++under_way_;
        saved_ = PyEval_SaveThread();
    }
    ~WithoutInterpreter() {
        if (saved_ == nullptr) return;
        PyEval_RestoreThread(saved_);
        --under_way_;
    }
    WithoutInterpreter(const WithoutInterpreter&) = delete;
    WithoutInterpreter& operator=(const WithoutInterpreter&) = delete;

    static void wait_at_exit(nanobind::module_& m) {
        m.def("_close", close);
        nanobind::module_::import_("atexit").attr("register")(m.attr("_close"));
    }

private:
    static void close() {
        closing_ = true;
        while (generation_ == fork_generation() && under_way_ > 0) {
            nanobind::gil_scoped_release release;  // the main thread is never ended from outside
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    }

    // all of it under the interpreter's lock
    inline static bool closing_ = false;
    inline static unsigned generation_ = 0;
    inline static int under_way_ = 0;
    PyThreadState* saved_ = nullptr;
};

}  // namespace fffbench
