// The emulated driver: streams and events.
//
// Eager (the default): an operation runs when it is submitted. Deferred (CASTOFF_EMULATION_STREAMS=deferred):
// it runs when something waits for it, in the order of its stream, so that a missing wait shows.
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "driver.h"

static double now_milliseconds()
{
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

std::shared_ptr<CUstream_st> find_stream(cudaStream_t stream)
{
    Driver& driver = the_driver();
    // The stream of each thread is emulated by the legacy stream, which waits for more.
    if (!stream || stream == cudaStreamLegacy || stream == cudaStreamPerThread) {
        return driver.devices[thread_state.device].legacy;
    }
    auto found = driver.streams.find(stream);
    return found == driver.streams.end() ? nullptr : found->second;
}

static cudaError_t run(const Work& work)
{
    Driver& driver = the_driver();
    if (driver.sticky) return driver.sticky;
    open_device_memory();
    cudaError_t error = work.work.run(work.work.data);
    close_device_memory();
    return error;
}

cudaError_t run_until(const std::shared_ptr<CUstream_st>& stream, uint64_t position)
{
    cudaError_t error = cudaSuccess;
    while (stream->completed < position && !stream->queue.empty()) {
        auto work = stream->queue.front();
        stream->queue.pop_front();
        cudaError_t one = run(*work);
        if (one && !error) error = one;
        stream->completed++;
    }
    return error;
}

cudaError_t drain(const std::shared_ptr<CUstream_st>& stream) { return run_until(stream, stream->submitted); }

cudaError_t drain_device(int device)
{
    Driver& driver = the_driver();
    cudaError_t error = drain(driver.devices[device].legacy);
    auto streams = driver.streams;
    for (auto& [handle, stream] : streams) {
        if (stream->device != device) continue;
        cudaError_t one = drain(stream);
        if (one && !error) error = one;
    }
    return error;
}

// The legacy stream and those that are not cudaStreamNonBlocking wait for each other.
static cudaError_t wait_for_implicit_dependencies(const CUstream_st& stream)
{
    Driver& driver = the_driver();
    auto legacy = driver.devices[stream.device].legacy;
    if (&stream != legacy.get()) return stream.flags & cudaStreamNonBlocking ? cudaSuccess : drain(legacy);
    auto streams = driver.streams;
    for (auto& [handle, other] : streams) {
        if (other->device != stream.device || other->flags & cudaStreamNonBlocking) continue;
        if (other->capture) return cudaErrorStreamCaptureImplicit;
        if (cudaError_t error = drain(other)) return error;
    }
    return cudaSuccess;
}

cudaError_t submit(const std::shared_ptr<CUstream_st>& stream, const EmulatedWork& work)
{
    auto kept = std::make_shared<Work>(work);
    if (stream->capture) {
        if (stream->capture->is_invalid) return cudaErrorStreamCaptureInvalidated;
        stream->capture->nodes.push_back(kept);
        if (stream.get() != stream->capture->origin) stream->capture->unjoined.insert(stream.get());
        return cudaSuccess;
    }
    if (cudaError_t error = wait_for_implicit_dependencies(*stream)) return error;
    stream->queue.push_back(kept);
    stream->submitted++;
    return the_driver().is_deferred ? cudaSuccess : drain(stream);
}

cudaError_t check_unsafe_while_capturing()
{
    if (thread_state.capture_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
    cudaError_t error = cudaSuccess;
    for (Capture* capture : the_driver().captures) {
        bool is_own = pthread_equal(capture->thread, pthread_self()) &&
                      capture->mode != cudaStreamCaptureModeRelaxed;
        bool is_global = thread_state.capture_mode == cudaStreamCaptureModeGlobal &&
                         capture->mode == cudaStreamCaptureModeGlobal;
        if (!is_own && !is_global) continue;
        capture->is_invalid = true;
        error = cudaErrorStreamCaptureUnsupported;
    }
    return error;
}

cudaError_t check_device_is_not_captured(int device)
{
    cudaError_t error = cudaSuccess;
    for (Capture* capture : the_driver().captures) {
        if (capture->origin->device != device) continue;
        capture->is_invalid = true;
        error = cudaErrorStreamCaptureUnsupported;
    }
    return error;
}

static cudaError_t refuse_capturing(const CUstream_st& stream)
{
    if (!stream.capture) return cudaSuccess;
    stream.capture->is_invalid = true;
    return failed(cudaErrorStreamCaptureUnsupported);
}

// Recording takes so short a time here that other threads would never meet a stream that is recorded.
static void let_others_come_between(cudaStream_t handle)
{
    bool is_captured = false;
    {
        Entry entry;
        auto stream = entry.error ? nullptr : find_stream(handle);
        is_captured = stream && stream->capture;
    }
    if (is_captured) usleep(100);
}

#define FIND(stream, handle)              \
    auto stream = find_stream(handle);    \
    if (!stream) return failed(cudaErrorInvalidResourceHandle)

extern "C" {

cudaError_t emulation_submit(cudaStream_t handle, const EmulatedWork* work)
{
    let_others_come_between(handle);
    Entry entry;
    auto stream = entry.error ? nullptr : find_stream(handle);
    cudaError_t error = entry.error;
    if (!error && !stream) error = cudaErrorInvalidResourceHandle;
    // A stream belongs to the device that was current when it was made, and works for no other.
    if (!error && stream->device != thread_state.device) error = cudaErrorInvalidResourceHandle;
    if (!error && ++entry.driver.launches == entry.driver.failing_launch) {
        error = entry.driver.sticky = cudaErrorIllegalAddress;
    }
    if (error) {
        if (work->release) work->release(work->data);
        return failed(error);
    }
    return failed(submit(stream, *work));
}

cudaError_t cudaDeviceSynchronize(void)
{
    ENTER_CONTEXT;
    if (cudaError_t error = check_device_is_not_captured(thread_state.device)) return failed(error);
    return failed(drain_device(thread_state.device));
}

cudaError_t cudaDeviceReset(void)
{
    ENTER;
    return failed(drain_device(thread_state.device));
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* handle, unsigned flags, int priority)
{
    ENTER_CONTEXT;
    auto stream = std::make_shared<CUstream_st>();
    stream->device = thread_state.device;
    stream->flags = flags;
    stream->priority = priority;
    driver.streams[stream.get()] = stream;
    *handle = stream.get();
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned flags)
{
    return cudaStreamCreateWithPriority(handle, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t* handle) { return cudaStreamCreateWithFlags(handle, 0); }

cudaError_t cudaStreamDestroy(cudaStream_t handle)
{
    ENTER;
    auto found = driver.streams.find(handle);
    if (found == driver.streams.end()) return failed(cudaErrorInvalidResourceHandle);
    auto stream = found->second;
    if (cudaError_t error = refuse_capturing(*stream)) return error;
    cudaError_t error = drain(stream);
    driver.streams.erase(handle);
    return failed(error);
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle)
{
    ENTER;
    FIND(stream, handle);
    if (cudaError_t error = refuse_capturing(*stream)) return error;
    if (cudaError_t error = wait_for_implicit_dependencies(*stream)) return failed(error);
    return failed(drain(stream));
}

cudaError_t cudaStreamQuery(cudaStream_t handle)
{
    ENTER;
    FIND(stream, handle);
    if (cudaError_t error = refuse_capturing(*stream)) return error;
    if (stream->queue.empty()) return cudaSuccess;
    if (cudaError_t error = run_until(stream, stream->completed + 1)) return failed(error);
    return failed(cudaErrorNotReady);
}

cudaError_t cudaStreamGetDevice(cudaStream_t handle, int* device)
{
    ENTER;
    FIND(stream, handle);
    *device = stream->device;
    return cudaSuccess;
}

cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned* flags)
{
    ENTER;
    FIND(stream, handle);
    *flags = stream->flags;
    return cudaSuccess;
}

cudaError_t cudaStreamGetPriority(cudaStream_t handle, int* priority)
{
    ENTER;
    FIND(stream, handle);
    *priority = stream->priority;
    return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data)
{
    ENTER;
    FIND(stream, handle);
    return failed(submit(stream, make_work([function, data] {
        close_device_memory();  // a host function is host code
        function(data);
        open_device_memory();
        return cudaSuccess;
    })));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned flags)
{
    ENTER_CONTEXT;
    auto* event = new CUevent_st{};
    event->flags = flags;
    driver.events.insert(event);
    *handle = event;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* handle) { return cudaEventCreateWithFlags(handle, 0); }

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    ENTER;
    if (!driver.events.erase(event)) return failed(cudaErrorInvalidResourceHandle);
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t handle, unsigned)
{
    ENTER;
    FIND(stream, handle);
    if (!driver.events.count(event)) return failed(cudaErrorInvalidResourceHandle);
    if (++driver.events_recorded == driver.failing_event) return failed(cudaErrorInvalidResourceHandle);
    event->stream = stream;
    event->capture = stream->capture;
    if (stream->capture) {
        stream->capture->unjoined.erase(stream.get());  // whoever waits for it joins it
        return cudaSuccess;
    }
    auto reached = std::make_shared<double>(0);
    event->milliseconds = reached;
    cudaError_t error = submit(stream, make_work([reached] {
        *reached = now_milliseconds();
        return cudaSuccess;
    }));
    event->position = stream->submitted;
    return failed(error);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    return cudaEventRecordWithFlags(event, stream, 0);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned)
{
    ENTER;
    FIND(stream, handle);
    if (!driver.events.count(event)) return failed(cudaErrorInvalidResourceHandle);
    if (!event->stream) return cudaSuccess;
    if (event->capture && driver.captures.count(event->capture.get())) {
        if (stream->capture && stream->capture != event->capture) return failed(cudaErrorStreamCaptureMerge);
        stream->capture = event->capture;
        stream->capture->streams.insert(stream.get());
        return cudaSuccess;
    }
    if (stream->capture) {
        stream->capture->is_invalid = true;
        return failed(cudaErrorStreamCaptureIsolation);
    }
    auto awaited = event->stream;
    uint64_t position = event->position;
    if (awaited == stream || awaited->completed >= position) return cudaSuccess;
    return failed(submit(stream, make_work([awaited, position] { return run_until(awaited, position); })));
}

static cudaError_t check_event(const Driver& driver, cudaEvent_t event)
{
    if (!driver.events.count(event)) return failed(cudaErrorInvalidResourceHandle);
    return event->capture ? failed(cudaErrorCapturedEvent) : cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    ENTER;
    if (cudaError_t error = check_event(driver, event)) return error;
    if (!event->stream || event->stream->completed >= event->position) return cudaSuccess;
    if (cudaError_t error = run_until(event->stream, event->stream->completed + 1)) return failed(error);
    return failed(cudaErrorNotReady);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    ENTER;
    if (cudaError_t error = check_event(driver, event)) return error;
    return event->stream ? failed(run_until(event->stream, event->position)) : cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end)
{
    ENTER;
    if (!driver.events.count(start) || !driver.events.count(end)) return failed(cudaErrorInvalidResourceHandle);
    if (!start->stream || !end->stream || (start->flags | end->flags) & cudaEventDisableTiming) {
        return failed(cudaErrorInvalidResourceHandle);
    }
    if (!*start->milliseconds || !*end->milliseconds) return failed(cudaErrorNotReady);
    *milliseconds = static_cast<float>(*end->milliseconds - *start->milliseconds);
    return cudaSuccess;
}

}  // extern "C"
