// What the files of the emulated driver (libcuda.so.1) share.
//
// One lock guards everything, kernels included: one block of one kernel runs at a time, as `__shared__`
// variables, which are static, need it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

struct Allocation {
    size_t bytes;
    int device;          // -1: host memory that the device knows
    bool is_registered;  // the host memory is the caller's
    bool is_pooled = false;  // cudaFree() waits for nothing that uses it
};

// One operation of a stream, or one node of a graph.
struct Work {
    EmulatedWork work{};
    explicit Work(const EmulatedWork& work) : work(work) {}
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;
    ~Work()
    {
        if (work.release) work.release(work.data);
    }
};
using Nodes = std::vector<std::shared_ptr<Work>>;

struct CUgraph_st {
    Nodes nodes;
};
struct CUgraphExec_st {
    Nodes nodes;
    int device;
};

struct Capture {
    CUstream_st* origin;
    cudaStreamCaptureMode mode;
    std::thread::native_handle_type thread;
    std::set<CUstream_st*> streams, unjoined;
    Nodes nodes;
    bool is_invalid = false;
};

struct CUstream_st {
    int device;
    unsigned flags;
    int priority;
    std::deque<std::shared_ptr<Work>> queue;
    uint64_t submitted = 0, completed = 0;
    std::shared_ptr<Capture> capture;
};

struct CUevent_st {
    unsigned flags;
    std::shared_ptr<CUstream_st> stream;  // null before the first record
    uint64_t position = 0;
    std::shared_ptr<Capture> capture;
    std::shared_ptr<double> milliseconds;  // when it was reached; null inside while it was not
};

struct Device {
    size_t used = 0, high = 0;
    bool has_context = false;  // of what takes memory of a real one
    std::shared_ptr<CUstream_st> legacy;
    std::set<int> peers;
    uint64_t release_threshold = 0;
};

struct Driver {
    std::recursive_mutex lock;
    int process = 0;
    bool is_deferred = false, has_pools = true;
    size_t memory_bytes = 0;
    int architecture = 90;
    uint64_t launches = 0, failing_launch = 0;
    int pinned_copies = 0, pageable_copies = 0;  // from the host
    uint64_t events_recorded = 0, failing_event = 0;
    cudaError_t sticky = cudaSuccess;
    std::vector<Device> devices;
    std::map<uintptr_t, Allocation> allocations;
    std::map<CUstream_st*, std::shared_ptr<CUstream_st>> streams;
    std::set<CUevent_st*> events;
    std::set<CUgraph_st*> graphs;
    std::set<CUgraphExec_st*> executables;
    std::map<const void*, int> kernel_shared_bytes;
    std::set<Capture*> captures;
};

struct ThreadState {
    int device = 0;
    cudaError_t last = cudaSuccess;
    cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;
};
extern thread_local ThreadState thread_state;

// The lock, held as long as it lives, and the state.
struct Entry {
    Driver& driver;
    std::lock_guard<std::recursive_mutex> held;
    cudaError_t error;  // what every call answers at once: no device, after fork, a sticky error
    Entry();
};
Driver& the_driver();

#define ENTER_CONTEXT \
    ENTER;            \
    driver.devices[thread_state.device].has_context = true

cudaError_t failed(cudaError_t error);  // remembers it as the last error of the thread
// Says it on stderr and, unless CASTOFF_EMULATION_FAULT=error, ends the process.
cudaError_t fault(cudaError_t error, const char* format, ...) __attribute__((format(printf, 2, 3)));
void write_sentence(const char* sentence, bool is_last);  // `is_last`: the process ends after it
[[noreturn]] void give_up(const char* what);              // what the system refused, and errno

#define ENTER                              \
    Entry entry;                           \
    Driver& driver = entry.driver;         \
    (void)driver;                          \
    if (entry.error) return failed(entry.error)

// streams.cpp, too: an error, and every capture on the device lost, where it records something
cudaError_t check_device_is_not_captured(int device);

// memory.cpp
const std::pair<const uintptr_t, Allocation>* find_allocation(const void* pointer, size_t bytes);
void open_device_memory();   // calls nest
void close_device_memory();

// streams.cpp
std::shared_ptr<CUstream_st> find_stream(cudaStream_t stream);  // null where there is none
cudaError_t submit(const std::shared_ptr<CUstream_st>& stream, const EmulatedWork& work);
cudaError_t run_until(const std::shared_ptr<CUstream_st>& stream, uint64_t position);
cudaError_t drain(const std::shared_ptr<CUstream_st>& stream);
cudaError_t drain_device(int device);
// An error where a thread captures and the call, unsafe while capturing, is not allowed.
cudaError_t check_unsafe_while_capturing();

template <typename Function> EmulatedWork make_work(Function function)
{
    EmulatedWork work;
    work.data = new Function(std::move(function));
    work.run = [](void* data) -> cudaError_t { return (*static_cast<Function*>(data))(); };
    work.release = [](void* data) { delete static_cast<Function*>(data); };
    return work;
}
