// The emulated driver: copies and fills.
#include <cstdlib>
#include <cstring>

#include "driver.h"

namespace {

struct Rectangle {
    void* to;
    size_t to_pitch;
    const void* from;
    size_t from_pitch, width, height;
};

void copy(const Rectangle& r)
{
    for (size_t row = 0; row < r.height; row++) {
        memmove(static_cast<char*>(r.to) + row * r.to_pitch,
                static_cast<const char*>(r.from) + row * r.from_pitch, r.width);
    }
}

enum class Place { pageable, pinned, device, broken };

// Where a range lies; broken: it begins in memory that the device knows and leaves it.
Place place_of(const void* pointer, size_t bytes)
{
    if (!find_allocation(pointer, 1)) return Place::pageable;
    const auto* found = find_allocation(pointer, bytes);
    if (!found) return Place::broken;
    return found->second.device < 0 ? Place::pinned : Place::device;
}

bool fits(Place to, Place from, cudaMemcpyKind kind)
{
    switch (kind) {
    case cudaMemcpyHostToHost: return to != Place::device && from != Place::device;
    case cudaMemcpyHostToDevice: return to == Place::device && from != Place::device;
    case cudaMemcpyDeviceToHost: return to != Place::device && from == Place::device;
    case cudaMemcpyDeviceToDevice: return to == Place::device && from == Place::device;
    default: return kind == cudaMemcpyDefault;
    }
}

cudaError_t submit_copy(Rectangle r, cudaMemcpyKind kind, cudaStream_t handle)
{
    auto stream = find_stream(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (r.width == 0 || r.height == 0) return cudaSuccess;
    if (r.width > r.to_pitch || r.width > r.from_pitch) return cudaErrorInvalidPitchValue;
    Place to = place_of(r.to, (r.height - 1) * r.to_pitch + r.width);
    Place from = place_of(r.from, (r.height - 1) * r.from_pitch + r.width);
    if (!r.to || !r.from || to == Place::broken || from == Place::broken || !fits(to, from, kind)) {
        return cudaErrorInvalidValue;
    }
    if (to == Place::device && from != Place::device) {
        Driver& driver = the_driver();
        (from == Place::pinned ? driver.pinned_copies : driver.pageable_copies)++;
    }
    bool is_staged = from == Place::pageable && !stream->capture;
    std::shared_ptr<char> staging;
    if (is_staged) {  // what pageable memory holds is read before the call returns
        staging.reset(static_cast<char*>(malloc(r.width * r.height)), free);
        copy({staging.get(), r.width, r.from, r.from_pitch, r.width, r.height});
        r.from = staging.get();
        r.from_pitch = r.width;
    }
    cudaError_t error = submit(stream, make_work([r, staging] {
        copy(r);
        return cudaSuccess;
    }));
    // And what goes to pageable memory is there when it returns.
    if (!error && to == Place::pageable && !stream->capture) error = drain(stream);
    return error;
}

cudaError_t submit_fill(void* pointer, size_t pitch, int value, size_t width, size_t height, cudaStream_t handle)
{
    auto stream = find_stream(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (width == 0 || height == 0) return cudaSuccess;
    Place place = place_of(pointer, (height - 1) * pitch + width);
    if (place == Place::pageable || place == Place::broken) return cudaErrorInvalidValue;
    return submit(stream, make_work([=] {
        for (size_t row = 0; row < height; row++) memset(static_cast<char*>(pointer) + row * pitch, value, width);
        return cudaSuccess;
    }));
}

cudaError_t finish_legacy(cudaError_t error)
{
    return failed(error ? error : drain(find_stream(nullptr)));
}

}  // namespace

extern "C" {

// For tests: how many copies came from pinned memory of the host, and from other.
void castoff_emulation_copies(int* pinned, int* pageable)
{
    Entry entry;
    *pinned = entry.driver.pinned_copies;
    *pageable = entry.driver.pageable_copies;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
    ENTER;
    return failed(submit_copy({to, bytes, from, bytes, bytes, 1}, kind, stream));
}

cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, cudaStream_t stream)
{
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream)
{
    ENTER;
    return failed(submit_copy({to, to_pitch, from, from_pitch, width, height}, kind, stream));
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind)
{
    ENTER;
    if (cudaError_t error = check_unsafe_while_capturing()) return failed(error);
    return finish_legacy(submit_copy({to, bytes, from, bytes, bytes, 1}, kind, nullptr));
}

cudaError_t cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                         size_t height, cudaMemcpyKind kind)
{
    ENTER;
    if (cudaError_t error = check_unsafe_while_capturing()) return failed(error);
    return finish_legacy(submit_copy({to, to_pitch, from, from_pitch, width, height}, kind, nullptr));
}

cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t stream)
{
    ENTER;
    return failed(submit_fill(pointer, bytes, value, bytes, 1, stream));
}

cudaError_t cudaMemset2DAsync(void* pointer, size_t pitch, int value, size_t width, size_t height,
                              cudaStream_t stream)
{
    ENTER;
    return failed(submit_fill(pointer, pitch, value, width, height, stream));
}

cudaError_t cudaMemset(void* pointer, int value, size_t bytes)
{
    ENTER;
    if (cudaError_t error = check_unsafe_while_capturing()) return failed(error);
    return failed(submit_fill(pointer, bytes, value, bytes, 1, nullptr));
}

}  // extern "C"
