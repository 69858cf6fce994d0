// The emulated driver: capture and graphs. A graph is the list of captured operations in the order of their calls.
#include <pthread.h>

#include "driver.h"

extern "C" {

// For tests: how many instantiated graphs there are.
int castoff_emulation_graph_count()
{
    ENTER;
    return static_cast<int>(driver.executables.size());
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode)
{
    ENTER;
    auto stream = find_stream(handle);
    if (!stream) return failed(cudaErrorInvalidResourceHandle);
    if (stream == driver.devices[stream->device].legacy) return failed(cudaErrorStreamCaptureUnsupported);
    if (stream->capture) return failed(cudaErrorIllegalState);
    auto capture = std::make_shared<Capture>();
    capture->origin = stream.get();
    capture->mode = mode;
    capture->thread = pthread_self();
    capture->streams.insert(stream.get());
    stream->capture = capture;
    driver.captures.insert(capture.get());
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph)
{
    ENTER;
    *graph = nullptr;
    auto stream = find_stream(handle);
    if (!stream) return failed(cudaErrorInvalidResourceHandle);
    auto capture = stream->capture;
    if (!capture) return failed(cudaErrorIllegalState);
    if (capture->origin != stream.get()) return failed(cudaErrorStreamCaptureUnmatched);
    if (capture->mode != cudaStreamCaptureModeRelaxed && !pthread_equal(capture->thread, pthread_self())) {
        return failed(cudaErrorStreamCaptureWrongThread);
    }
    for (CUstream_st* one : capture->streams) {
        if (driver.streams.count(one)) one->capture = nullptr;
    }
    driver.captures.erase(capture.get());
    if (capture->is_invalid) return failed(cudaErrorStreamCaptureInvalidated);
    if (!capture->unjoined.empty()) return failed(cudaErrorStreamCaptureUnjoined);
    *graph = new CUgraph_st{std::move(capture->nodes)};
    driver.graphs.insert(*graph);
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status)
{
    ENTER;
    auto stream = find_stream(handle);
    if (!stream) return failed(cudaErrorInvalidResourceHandle);
    if (stream == driver.devices[stream->device].legacy) {
        for (Capture* capture : driver.captures) {
            bool is_waited_for = !(capture->origin->flags & cudaStreamNonBlocking);
            if (is_waited_for && capture->origin->device == stream->device) return failed(cudaErrorStreamCaptureImplicit);
        }
    }
    *status = !stream->capture              ? cudaStreamCaptureStatusNone
              : stream->capture->is_invalid ? cudaStreamCaptureStatusInvalidated
                                            : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode)
{
    ENTER;
    std::swap(*mode, thread_state.capture_mode);
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long)
{
    ENTER;
    if (!driver.graphs.count(graph)) return failed(cudaErrorInvalidValue);
    *executable = new CUgraphExec_st{graph->nodes, thread_state.device};
    driver.executables.insert(*executable);
    return cudaSuccess;
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* info)
{
    ENTER;
    if (!driver.graphs.count(graph) || !driver.executables.count(executable)) return failed(cudaErrorInvalidValue);
    *info = {cudaGraphExecUpdateSuccess, nullptr, nullptr};
    if (executable->nodes.size() != graph->nodes.size()) {
        info->result = cudaGraphExecUpdateError;
        return failed(cudaErrorGraphExecUpdateFailure);
    }
    executable->nodes = graph->nodes;
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t)
{
    ENTER;
    return driver.executables.count(executable) ? cudaSuccess : failed(cudaErrorInvalidValue);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle)
{
    ENTER;
    auto stream = find_stream(handle);
    if (!stream) return failed(cudaErrorInvalidResourceHandle);
    if (!driver.executables.count(executable)) return failed(cudaErrorInvalidValue);
    if (stream->device != executable->device) return failed(cudaErrorInvalidValue);
    if (stream->capture) return fault(cudaErrorNotSupported, "graphs inside graphs are not emulated");
    return failed(submit(stream, make_work([nodes = executable->nodes] {
        for (const auto& node : nodes) {
            if (cudaError_t error = node->work.run(node->work.data)) return error;
        }
        return cudaSuccess;
    })));
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count)
{
    ENTER;
    if (!driver.graphs.count(graph)) return failed(cudaErrorInvalidValue);
    for (size_t i = 0; nodes && i < *count; i++) {
        nodes[i] = i < graph->nodes.size() ? reinterpret_cast<cudaGraphNode_t>(graph->nodes[i].get()) : nullptr;
    }
    *count = graph->nodes.size();
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    ENTER;
    if (!driver.graphs.erase(graph)) return failed(cudaErrorInvalidValue);
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable)
{
    ENTER;
    if (!driver.executables.erase(executable)) return failed(cudaErrorInvalidValue);
    delete executable;
    return cudaSuccess;
}

}  // extern "C"
