// The emulated driver: memory.
//
// Device memory lies in one reserved range that host code cannot touch: it is opened while a kernel or a copy
// runs, so that host code that dereferences a device pointer crashes with a sentence, as it would crash with a GPU.
// Built with AddressSanitizer, allocations are blocks of malloc instead, whose borders it watches.
// Fresh memory is full of 0xff: NaN of every floating type.
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

#include "driver.h"

static constexpr size_t page_bytes = 4096;
static constexpr int poison = 0xff;

#ifdef __SANITIZE_ADDRESS__

void open_device_memory() {}
void close_device_memory() {}
static void* take_memory(size_t bytes)
{
    void* pointer = nullptr;
    return posix_memalign(&pointer, 256, bytes) ? nullptr : pointer;
}
static void give_memory(void* pointer, size_t) { free(pointer); }

#else

static constexpr size_t reserved_bytes = size_t(1) << 38;
static char* reserved;
static size_t reached;                        // the end of what was ever handed out
static std::map<size_t, size_t> free_ranges;  // offset -> bytes
static int open_count;
static struct sigaction previous_action;

static void on_fault(int number, siginfo_t* info, void* context)
{
    const char* address = static_cast<const char*>(info->si_addr);
    if (address >= reserved && address < reserved + reserved_bytes) {
        write_sentence(open_count ? "a kernel or copy left the device memory that was allocated"
                                  : "host code touched device memory", true);
    }
    sigaction(SIGSEGV, &previous_action, nullptr);  // the access is made again and ends the process
    (void)number;
    (void)context;
}

static void reserve()
{
    reserved = static_cast<char*>(mmap(nullptr, reserved_bytes, PROT_NONE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (reserved == MAP_FAILED) give_up("address space for device memory");
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &previous_action);
}

static void protect(int protection)
{
    if (reached && mprotect(reserved, reached, protection)) give_up("opening and closing device memory");
}
void open_device_memory()
{
    if (open_count++ == 0) protect(PROT_READ | PROT_WRITE);
}
void close_device_memory()
{
    if (--open_count == 0) protect(PROT_NONE);
}

static size_t whole_pages(size_t bytes) { return (bytes + page_bytes - 1) / page_bytes * page_bytes; }

static void* take_memory(size_t bytes)
{
    if (!reserved) reserve();
    bytes = whole_pages(bytes);
    for (auto range = free_ranges.begin(); range != free_ranges.end(); ++range) {
        if (range->second < bytes) continue;
        auto [offset, size] = *range;
        free_ranges.erase(range);
        if (size > bytes) free_ranges[offset + bytes] = size - bytes;
        return reserved + offset;
    }
    if (reached + bytes > reserved_bytes) return nullptr;
    char* pointer = reserved + reached;
    reached += bytes;
    // Joins the state of the rest, which is open here.
    if (mprotect(pointer, bytes, PROT_READ | PROT_WRITE)) give_up("more device memory");
    return pointer;
}

static void give_memory(void* pointer, size_t bytes)
{
    bytes = whole_pages(bytes);
    madvise(pointer, bytes, MADV_DONTNEED);
    size_t offset = static_cast<size_t>(static_cast<char*>(pointer) - reserved);
    auto after = free_ranges.lower_bound(offset);
    if (after != free_ranges.end() && after->first == offset + bytes) {
        bytes += after->second;
        after = free_ranges.erase(after);
    }
    if (after != free_ranges.begin() && std::prev(after)->first + std::prev(after)->second == offset) {
        std::prev(after)->second += bytes;
    } else {
        free_ranges[offset] = bytes;
    }
}

#endif

const std::pair<const uintptr_t, Allocation>* find_allocation(const void* pointer, size_t bytes)
{
    auto& allocations = the_driver().allocations;
    auto address = reinterpret_cast<uintptr_t>(pointer);
    auto after = allocations.upper_bound(address);
    if (after == allocations.begin()) return nullptr;
    auto found = std::prev(after);
    return address + bytes <= found->first + found->second.bytes ? &*found : nullptr;
}

static cudaError_t allocate_device(void** pointer, size_t bytes, int device_index)
{
    Driver& driver = the_driver();
    if (!pointer) return failed(cudaErrorInvalidValue);
    *pointer = nullptr;
    if (bytes == 0) return cudaSuccess;
    Device& device = driver.devices[device_index];
    if (bytes > driver.memory_bytes - device.used) return failed(cudaErrorMemoryAllocation);
    open_device_memory();
    void* taken = take_memory(bytes);
    if (taken) memset(taken, poison, bytes);
    close_device_memory();
    if (!taken) return failed(cudaErrorMemoryAllocation);
    device.used += bytes;
    device.high = std::max(device.high, device.used);
    driver.allocations[reinterpret_cast<uintptr_t>(taken)] = {bytes, device_index, false};
    *pointer = taken;
    return cudaSuccess;
}

static cudaError_t free_device(void* pointer)
{
    Driver& driver = the_driver();
    auto found = driver.allocations.find(reinterpret_cast<uintptr_t>(pointer));
    if (found == driver.allocations.end() || found->second.device < 0) return failed(cudaErrorInvalidValue);
    driver.devices[found->second.device].used -= found->second.bytes;
    give_memory(pointer, found->second.bytes);
    driver.allocations.erase(found);
    return cudaSuccess;
}

extern "C" {

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes)
{
    ENTER_CONTEXT;
    if (free_bytes) *free_bytes = driver.memory_bytes - driver.devices[thread_state.device].used;
    if (total_bytes) *total_bytes = driver.memory_bytes;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void** pointer, size_t bytes)
{
    ENTER_CONTEXT;
    if (cudaError_t error = check_unsafe_while_capturing()) return failed(error);
    return allocate_device(pointer, bytes, thread_state.device);
}

cudaError_t cudaMallocManaged(void**, size_t, unsigned)
{
    ENTER;
    return failed(cudaErrorNotSupported);
}

cudaError_t cudaFree(void* pointer)
{
    ENTER_CONTEXT;
    if (!pointer) return cudaSuccess;
    if (cudaError_t error = check_unsafe_while_capturing()) return failed(error);
    const auto* found = find_allocation(pointer, 0);
    if (!found || found->second.device < 0) return failed(cudaErrorInvalidValue);
    if (!found->second.is_pooled)
        if (cudaError_t error = drain_device(found->second.device)) return failed(error);
    return free_device(pointer);
}

cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t handle)
{
    ENTER_CONTEXT;
    if (!driver.has_pools) return failed(cudaErrorNotSupported);
    auto stream = find_stream(handle);
    if (!stream) return failed(cudaErrorInvalidResourceHandle);
    if (stream->capture) return fault(cudaErrorNotSupported, "allocations inside a graph are not emulated");
    if (cudaError_t error = allocate_device(pointer, bytes, stream->device)) return error;
    if (*pointer) driver.allocations.at(reinterpret_cast<uintptr_t>(*pointer)).is_pooled = true;
    return cudaSuccess;
}

cudaError_t cudaMallocFromPoolAsync(void** pointer, size_t bytes, cudaMemPool_t, cudaStream_t handle)
{
    return cudaMallocAsync(pointer, bytes, handle);
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t handle)
{
    ENTER_CONTEXT;
    if (!driver.has_pools) return failed(cudaErrorNotSupported);
    auto stream = find_stream(handle);
    if (!stream) return failed(cudaErrorInvalidResourceHandle);
    if (!pointer) return failed(cudaErrorInvalidValue);
    if (stream->capture) return fault(cudaErrorNotSupported, "frees inside a graph are not emulated");
    return failed(submit(stream, make_work([pointer] { return free_device(pointer); })));
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned)
{
    ENTER_CONTEXT;
    if (cudaError_t error = check_unsafe_while_capturing()) return failed(error);
    *pointer = nullptr;
    if (bytes == 0) return cudaSuccess;
    if (posix_memalign(pointer, page_bytes, bytes)) return failed(cudaErrorMemoryAllocation);
    memset(*pointer, poison, bytes);
    driver.allocations[reinterpret_cast<uintptr_t>(*pointer)] = {bytes, -1, false};
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) { return cudaHostAlloc(pointer, bytes, 0); }

static cudaError_t forget_host(void* pointer, bool is_registered, cudaError_t otherwise)
{
    ENTER;
    auto found = driver.allocations.find(reinterpret_cast<uintptr_t>(pointer));
    if (found == driver.allocations.end() || found->second.device >= 0 ||
        found->second.is_registered != is_registered) {
        return failed(otherwise);
    }
    for (size_t i = 0; i < driver.devices.size(); i++) {
        if (cudaError_t error = drain_device(static_cast<int>(i))) return failed(error);
    }
    driver.allocations.erase(found);
    if (!is_registered) free(pointer);
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void* pointer)
{
    return pointer ? forget_host(pointer, false, cudaErrorInvalidValue) : cudaSuccess;
}

cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned)
{
    ENTER;
    if (!pointer || !bytes) return failed(cudaErrorInvalidValue);
    if (find_allocation(pointer, 0)) return failed(cudaErrorHostMemoryAlreadyRegistered);
    driver.allocations[reinterpret_cast<uintptr_t>(pointer)] = {bytes, -1, true};
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void* pointer)
{
    return forget_host(pointer, true, cudaErrorHostMemoryNotRegistered);
}

cudaError_t cudaHostGetDevicePointer(void** device_pointer, void* host_pointer, unsigned)
{
    ENTER;
    const auto* found = find_allocation(host_pointer, 0);
    if (!found || found->second.device >= 0) return failed(cudaErrorInvalidValue);
    *device_pointer = host_pointer;
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer)
{
    ENTER_CONTEXT;
    memset(attributes, 0, sizeof *attributes);
    const auto* found = find_allocation(pointer, 1);
    void* address = const_cast<void*>(pointer);
    if (!found) {
        attributes->type = cudaMemoryTypeUnregistered;
        attributes->device = -2;  // cudaInvalidDeviceId
        attributes->hostPointer = address;
    } else if (found->second.device < 0) {
        attributes->type = cudaMemoryTypeHost;
        attributes->devicePointer = attributes->hostPointer = address;
    } else {
        attributes->type = cudaMemoryTypeDevice;
        attributes->device = found->second.device;
        attributes->devicePointer = address;
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device)
{
    ENTER;
    if (device < 0 || device >= static_cast<int>(driver.devices.size())) return failed(cudaErrorInvalidDevice);
    if (!driver.has_pools) return failed(cudaErrorNotSupported);
    *pool = reinterpret_cast<cudaMemPool_t>(&driver.devices[device]);
    return cudaSuccess;
}

cudaError_t cudaDeviceGetMemPool(cudaMemPool_t* pool, int device)
{
    return cudaDeviceGetDefaultMemPool(pool, device);
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value)
{
    ENTER;
    auto* device = reinterpret_cast<Device*>(pool);
    if (attribute == cudaMemPoolAttrReleaseThreshold) device->release_threshold = *static_cast<uint64_t*>(value);
    if (attribute == cudaMemPoolAttrUsedMemHigh) device->high = device->used;
    return cudaSuccess;
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value)
{
    ENTER;
    auto* device = reinterpret_cast<Device*>(pool);
    switch (attribute) {
    case cudaMemPoolAttrReleaseThreshold: *static_cast<uint64_t*>(value) = device->release_threshold; break;
    case cudaMemPoolAttrReservedMemCurrent:
    case cudaMemPoolAttrUsedMemCurrent: *static_cast<uint64_t*>(value) = device->used; break;
    case cudaMemPoolAttrReservedMemHigh:
    case cudaMemPoolAttrUsedMemHigh: *static_cast<uint64_t*>(value) = device->high; break;
    default: *static_cast<int*>(value) = 1;
    }
    return cudaSuccess;
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t)
{
    ENTER;
    return cudaSuccess;
}

// The stacks of the threads of a block. A process has them once, as it runs one block at a time: each is two
// mappings, of which it may have some 65 thousand, and every artefact that was loaded stays.
cudaError_t emulation_own_stacks(const void* owner, int* was_owner)
{
    Entry entry;
    static const void* last_owner;
    *was_owner = owner == last_owner;
    last_owner = owner;
    return cudaSuccess;
}

cudaError_t emulation_stack(unsigned number, size_t bytes, char** stack)
{
    Entry entry;
    static std::vector<char*> stacks;
    while (stacks.size() <= number) {
        char* memory = static_cast<char*>(mmap(nullptr, page_bytes + bytes, PROT_READ | PROT_WRITE,
                                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        if (memory == MAP_FAILED || mprotect(memory, page_bytes, PROT_NONE)) give_up("a stack for a thread");
        stacks.push_back(memory + page_bytes);
    }
    *stack = stacks[number];
    return cudaSuccess;
}

cudaError_t emulation_check_pointer(const void* pointer)
{
    ENTER;
    if (!pointer) return cudaSuccess;
    const auto* found = find_allocation(pointer, 0);
    if (!found) return cudaErrorInvalidValue;
    int device = found->second.device;
    bool is_reachable = device < 0 || device == thread_state.device ||
                        driver.devices[thread_state.device].peers.count(device);
    return is_reachable ? cudaSuccess : cudaErrorPeerAccessNotEnabled;
}

}  // extern "C"
