// The emulated driver: its state, its devices, errors.
#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

#include "driver.h"

thread_local ThreadState thread_state;

static const char* setting(const char* name, const char* otherwise)
{
    const char* value = std::getenv(name);
    return value && *value ? value : otherwise;
}

static Driver* make_driver()
{
    auto* driver = new Driver;
    driver->process = getpid();
    driver->is_deferred = !strcmp(setting("CASTOFF_EMULATION_STREAMS", "eager"), "deferred");
    driver->has_pools = strcmp(setting("CASTOFF_EMULATION_POOLS", "1"), "0") != 0;
    driver->memory_bytes = strtoull(setting("CASTOFF_EMULATION_MEMORY", "8589934592"), nullptr, 0);
    driver->architecture = atoi(setting("CASTOFF_EMULATION_ARCH", "90"));
    driver->failing_launch = strtoull(setting("CASTOFF_EMULATION_FAIL", "0"), nullptr, 0);
    driver->failing_event = strtoull(setting("CASTOFF_EMULATION_FAIL_EVENT", "0"), nullptr, 0);
    driver->devices.resize(strtoul(setting("CASTOFF_EMULATION_DEVICES", "1"), nullptr, 0));
    for (size_t i = 0; i < driver->devices.size(); i++) {
        auto stream = std::make_shared<CUstream_st>();
        stream->device = static_cast<int>(i);
        stream->flags = 0;
        stream->priority = 0;
        driver->devices[i].legacy = stream;
    }
    return driver;
}

Driver& the_driver()
{
    static Driver* driver = make_driver();  // never destroyed: artefacts call in while the process ends
    return *driver;
}

Entry::Entry() : driver(the_driver()), held(driver.lock), error(cudaSuccess)
{
    if (driver.process != getpid()) error = cudaErrorInitializationError;
    else if (driver.devices.empty()) error = cudaErrorNoDevice;
    else error = driver.sticky;
}

cudaError_t failed(cudaError_t error)
{
    if (error) thread_state.last = error;
    return error;
}

void write_sentence(const char* sentence, bool is_last)
{
    char line[1024];
    int length = snprintf(line, sizeof line, "CUDA emulation: %s\n", sentence);
    size_t bytes = std::min(static_cast<size_t>(length), sizeof line - 1);
    int process = 0, descriptor = 0;
    bool is_lost = write(2, line, bytes) < 0;
    // A test runner that keeps what tests write loses it with the process.
    if (is_last && sscanf(setting("CASTOFF_EMULATION_STDERR", ""), "%d:%d", &process, &descriptor) == 2 &&
        process == getpid()) {
        is_lost |= write(descriptor, line, bytes) < 0;
    }
    if (is_lost) _exit(1);
}

static void say(const char* format, va_list arguments)
{
    char sentence[1000];
    vsnprintf(sentence, sizeof sentence, format, arguments);
    bool is_last = strcmp(setting("CASTOFF_EMULATION_FAULT", "abort"), "error") != 0;
    write_sentence(sentence, is_last);
    if (is_last) abort();
}

cudaError_t fault(cudaError_t error, const char* format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    return failed(error);
}

void give_up(const char* what)
{
    char sentence[1000];
    snprintf(sentence, sizeof sentence, "%s: %s", what, strerror(errno));
    write_sentence(sentence, true);
    abort();
}

static bool is_device(int device)
{
    return device >= 0 && device < static_cast<int>(the_driver().devices.size());
}

struct AttributeValue {
    cudaDeviceAttr attribute;
    int value;
};
// As an H100 says of itself, with few multiprocessors so that grids stay small.
static const AttributeValue attribute_values[] = {
    {cudaDevAttrMaxThreadsPerBlock, 1024},
    {cudaDevAttrMaxBlockDimX, 1024},
    {cudaDevAttrMaxBlockDimY, 1024},
    {cudaDevAttrMaxBlockDimZ, 64},
    {cudaDevAttrMaxGridDimX, 2147483647},
    {cudaDevAttrMaxGridDimY, 65535},
    {cudaDevAttrMaxGridDimZ, 65535},
    {cudaDevAttrMaxSharedMemoryPerBlock, 48 << 10},
    {cudaDevAttrTotalConstantMemory, 64 << 10},
    {cudaDevAttrWarpSize, 32},
    {cudaDevAttrMaxPitch, 2147483647},
    {cudaDevAttrMaxRegistersPerBlock, 65536},
    {cudaDevAttrClockRate, 1980000},
    {cudaDevAttrMultiProcessorCount, 4},
    {cudaDevAttrIntegrated, 0},
    {cudaDevAttrCanMapHostMemory, 1},
    {cudaDevAttrComputeMode, 0},
    {cudaDevAttrConcurrentKernels, 1},
    {cudaDevAttrMemoryClockRate, 2619000},
    {cudaDevAttrGlobalMemoryBusWidth, 5120},
    {cudaDevAttrL2CacheSize, 50 << 20},
    {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
    {cudaDevAttrAsyncEngineCount, 3},
    {cudaDevAttrUnifiedAddressing, 1},
    {cudaDevAttrStreamPrioritiesSupported, 1},
    {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 228 << 10},
    {cudaDevAttrMaxRegistersPerMultiprocessor, 65536},
    {cudaDevAttrManagedMemory, 0},
    {cudaDevAttrPageableMemoryAccess, 0},
    {cudaDevAttrConcurrentManagedAccess, 0},
    {cudaDevAttrCooperativeLaunch, 0},
    {cudaDevAttrMaxSharedMemoryPerBlockOptin, 227 << 10},
    {cudaDevAttrHostRegisterSupported, 1},
    {cudaDevAttrMaxBlocksPerMultiprocessor, 32},
    {cudaDevAttrReservedSharedMemoryPerBlock, 1 << 10},
    {cudaDevAttrClusterLaunch, 0},
};

extern "C" {

cudaError_t cudaGetDeviceCount(int* count)
{
    *count = 0;
    ENTER;
    *count = static_cast<int>(driver.devices.size());
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device)
{
    ENTER;
    *device = thread_state.device;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    ENTER;
    if (!is_device(device)) return failed(cudaErrorInvalidDevice);
    thread_state.device = device;
    driver.devices[device].has_context = true;
    return cudaSuccess;
}

// ---- what artefacts ask of the driver beside the runtime

static thread_local std::vector<int> pushed;  // devices that were current before

static int get_device(int* handle, int device)
{
    *handle = device;
    return is_device(device) ? 0 : cudaErrorInvalidDevice;
}
static int retain_context(void** context, int device)
{
    Entry entry;
    if (entry.error || !is_device(device)) return cudaErrorInvalidDevice;
    entry.driver.devices[device].has_context = true;
    *context = &entry.driver.devices[device];
    return 0;
}
static int push_context(void* context)
{
    pushed.push_back(thread_state.device);
    thread_state.device = static_cast<int>(static_cast<Device*>(context) - the_driver().devices.data());
    return 0;
}
static int pop_context(void** context)
{
    if (pushed.empty()) return cudaErrorDeviceUninitialized;
    *context = &the_driver().devices[thread_state.device];
    thread_state.device = pushed.back();
    pushed.pop_back();
    return 0;
}
static int ask_pointer(void* answer, int question, unsigned long long pointer)
{
    Entry entry;
    const auto* found = find_allocation(reinterpret_cast<const void*>(pointer), 1);
    if (entry.error || !found) return cudaErrorInvalidValue;
    const int device = found->second.device;
    if (question == 2) *static_cast<unsigned*>(answer) = device < 0 ? 1 : 2;
    else if (question == 9) *static_cast<int*>(answer) = device;
    else return cudaErrorInvalidValue;
    return 0;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found)
{
    const std::map<std::string, void*> functions = {
        {"cuDeviceGet", reinterpret_cast<void*>(get_device)},
        {"cuDevicePrimaryCtxRetain", reinterpret_cast<void*>(retain_context)},
        {"cuCtxPushCurrent", reinterpret_cast<void*>(push_context)},
        {"cuCtxPopCurrent", reinterpret_cast<void*>(pop_context)},
        {"cuPointerGetAttribute", reinterpret_cast<void*>(ask_pointer)},
    };
    auto one = functions.find(name);
    *function = one == functions.end() ? nullptr : one->second;
    if (found) *found = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}

// For tests: whether a device has a context.
int castoff_emulation_has_context(int device)
{
    return is_device(device) && the_driver().devices[device].has_context;
}

cudaError_t cudaSetDeviceFlags(unsigned)
{
    ENTER;
    return cudaSuccess;
}

cudaError_t cudaInitDevice(int device, unsigned, unsigned)
{
    ENTER;
    return is_device(device) ? cudaSuccess : failed(cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device)
{
    ENTER;
    if (!is_device(device)) return failed(cudaErrorInvalidDevice);
    switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = driver.architecture / 10; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: *value = driver.architecture % 10; return cudaSuccess;
    case cudaDevAttrPciBusId: *value = device + 1; return cudaSuccess;
    case cudaDevAttrMemoryPoolsSupported: *value = driver.has_pools; return cudaSuccess;
    default: break;
    }
    for (const AttributeValue& row : attribute_values) {
        if (row.attribute == attribute) {
            *value = row.value;
            return cudaSuccess;
        }
    }
    return failed(cudaErrorInvalidValue);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device)
{
    ENTER;
    if (!is_device(device)) return failed(cudaErrorInvalidDevice);
    auto attribute = [device](cudaDeviceAttr which) {
        int value = 0;
        cudaDeviceGetAttribute(&value, which, device);
        return value;
    };
    memset(properties, 0, sizeof *properties);
    snprintf(properties->name, sizeof properties->name, "Emulated GPU sm_%d", driver.architecture);
    memcpy(properties->uuid.bytes, "castoff-emulated", 16);
    properties->uuid.bytes[15] = static_cast<char>('0' + device);
    properties->totalGlobalMem = driver.memory_bytes;
    properties->sharedMemPerBlock = attribute(cudaDevAttrMaxSharedMemoryPerBlock);
    properties->regsPerBlock = attribute(cudaDevAttrMaxRegistersPerBlock);
    properties->warpSize = 32;
    properties->memPitch = attribute(cudaDevAttrMaxPitch);
    properties->maxThreadsPerBlock = attribute(cudaDevAttrMaxThreadsPerBlock);
    for (int i = 0; i < 3; i++) {
        properties->maxThreadsDim[i] = attribute(static_cast<cudaDeviceAttr>(cudaDevAttrMaxBlockDimX + i));
        properties->maxGridSize[i] = attribute(static_cast<cudaDeviceAttr>(cudaDevAttrMaxGridDimX + i));
    }
    properties->totalConstMem = attribute(cudaDevAttrTotalConstantMemory);
    properties->major = driver.architecture / 10;
    properties->minor = driver.architecture % 10;
    properties->multiProcessorCount = attribute(cudaDevAttrMultiProcessorCount);
    properties->canMapHostMemory = 1;
    properties->concurrentKernels = 1;
    properties->pciBusID = device + 1;
    properties->asyncEngineCount = attribute(cudaDevAttrAsyncEngineCount);
    properties->unifiedAddressing = 1;
    properties->memoryBusWidth = attribute(cudaDevAttrGlobalMemoryBusWidth);
    properties->l2CacheSize = attribute(cudaDevAttrL2CacheSize);
    properties->maxThreadsPerMultiProcessor = attribute(cudaDevAttrMaxThreadsPerMultiProcessor);
    properties->streamPrioritiesSupported = 1;
    properties->sharedMemPerMultiprocessor = attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
    properties->regsPerMultiprocessor = attribute(cudaDevAttrMaxRegistersPerMultiprocessor);
    properties->sharedMemPerBlockOptin = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
    properties->maxBlocksPerMultiProcessor = attribute(cudaDevAttrMaxBlocksPerMultiprocessor);
    properties->reservedSharedMemPerBlock = attribute(cudaDevAttrReservedSharedMemoryPerBlock);
    properties->hostRegisterSupported = 1;
    properties->memoryPoolsSupported = driver.has_pools;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest)
{
    ENTER;
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device)
{
    ENTER;
    if (!is_device(device)) return failed(cudaErrorInvalidDevice);
    snprintf(id, static_cast<size_t>(length), "0000:%02X:00.0", device + 1);
    return cudaSuccess;
}

cudaError_t cudaDeviceSetLimit(cudaLimit, size_t)
{
    ENTER;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetLimit(size_t* value, cudaLimit limit)
{
    ENTER;
    *value = limit == cudaLimitStackSize ? 1024 : limit == cudaLimitMallocHeapSize ? 8 << 20 : 0;
    return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer)
{
    ENTER;
    if (!is_device(device) || !is_device(peer)) return failed(cudaErrorInvalidDevice);
    *can = device != peer;
    return cudaSuccess;
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned)
{
    ENTER;
    if (!is_device(peer) || peer == thread_state.device) return failed(cudaErrorInvalidDevice);
    if (!driver.devices[thread_state.device].peers.insert(peer).second) {
        return failed(cudaErrorPeerAccessAlreadyEnabled);
    }
    return cudaSuccess;
}

cudaError_t cudaCtxResetPersistingL2Cache(void)
{
    ENTER;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = thread_state.last;
    thread_state.last = the_driver().sticky;
    return error;
}

cudaError_t cudaPeekAtLastError(void) { return thread_state.last; }

cudaError_t emulation_remember(cudaError_t error) { return failed(error); }

cudaError_t emulation_say(const char* sentence) { return fault(cudaSuccess, "%s", sentence); }

cudaError_t emulation_fail(cudaError_t error)
{
    the_driver().sticky = error;
    return failed(error);
}

cudaError_t emulation_kernel_shared_limit(const void* kernel, int* bytes)
{
    ENTER;
    auto found = driver.kernel_shared_bytes.find(kernel);
    *bytes = found == driver.kernel_shared_bytes.end() ? 48 << 10 : found->second;
    return cudaSuccess;
}

cudaError_t emulation_set_kernel_shared_limit(const void* kernel, int bytes)
{
    ENTER;
    if (bytes < 0 || bytes > 227 << 10) return failed(cudaErrorInvalidValue);
    driver.kernel_shared_bytes[kernel] = bytes;
    return cudaSuccess;
}

}  // extern "C"
