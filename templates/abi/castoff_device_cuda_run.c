/* castoff_device_cuda_run.c: tensors and runs of a program on a GPU: copies, streams, indices out of range. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "castoff_device_cuda.h"

enum { CASTOFF_DEVICE_CUDA_MANAGED = 13, CASTOFF_DEVICE_ALIGNMENT = 16 };

/* ---- tensors ---- */

static int is_on_device(const DLTensor *tensor) {
  return tensor->device.device_type == CASTOFF_DEVICE_CUDA || tensor->device.device_type == CASTOFF_DEVICE_CUDA_MANAGED;
}

castoff_status castoff_device_accepts(const castoff_device *device, const char *what, const char *name,
                                      const DLTensor *tensor) {
  const DLDevice place = tensor->device;
  if (place.device_type == CASTOFF_DEVICE_CUDA && place.device_id == device->id) return CASTOFF_OK;
  if (place.device_type == CASTOFF_DEVICE_CUDA_MANAGED) return CASTOFF_OK;
  if (place.device_type == CASTOFF_DEVICE_CUDA)
    return castoff_refuse(CASTOFF_INPUT_MISMATCH, "%s%s: expected a tensor on cuda:%d, got one on cuda:%d", what, name,
                          device->id, (int)place.device_id);
  if (place.device_type != CASTOFF_DEVICE_CPU && place.device_type != CASTOFF_DEVICE_CUDA_HOST)
    return castoff_refuse(CASTOFF_INPUT_MISMATCH, "%s%s: expected a tensor on cuda:%d, got one on DLPack device %d", what,
                          name, device->id, (int)place.device_type);
  if (device->flags & CASTOFF_STRICT_DEVICE)
    return castoff_refuse(CASTOFF_INPUT_MISMATCH,
                          "%s%s: expected a tensor on cuda:%d, got one on the CPU (strict_device copies none)", what, name,
                          device->id);
  return CASTOFF_OK;
}

int castoff_device_holds(const castoff_device *device, const DLTensor *tensor) {
  (void)device;
  return is_on_device(tensor) && castoff_is_contiguous(tensor) &&
         (uintptr_t)castoff_tensor_data(tensor) % CASTOFF_DEVICE_ALIGNMENT == 0;
}

int castoff_device_places(const castoff_device *device, DLTensor *tensor) {
  if (tensor->device.device_type == CASTOFF_DEVICE_CUDA) {
    tensor->device.device_id = device->id;
    return 1;
  }
  tensor->device = (DLDevice){CASTOFF_DEVICE_CPU, 0};
  return 0;
}

static size_t size_of(const DLTensor *tensor) {
  int overflow = 0;
  return castoff_dense_size(tensor->ndim, tensor->shape, tensor->dtype, &overflow);
}

static castoff_status copy_strided(castoff_device *device, cudaStream_t stream, const DLTensor *tensor, void *dense,
                                   int to_dense) {
  int64_t strides[64];
  int64_t step = 1;
  if (tensor->ndim > 64)
    return castoff_refuse(CASTOFF_INPUT_MISMATCH, "a tensor of %d dimensions is more than can be copied", tensor->ndim);
  for (int axis = tensor->ndim - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= tensor->shape[axis];
  }
  void *data = castoff_tensor_data(tensor);
  const int64_t *own = tensor->strides ? tensor->strides : strides;
  const int failed = castoff_cuda_copy_strided(to_dense ? dense : data, to_dense ? strides : own, to_dense ? data : dense,
                                               to_dense ? own : strides, tensor->ndim, tensor->shape,
                                               tensor->dtype.bits / 8 * tensor->dtype.lanes, stream);
  return failed ? castoff_cuda_check(device, cudaGetLastError(), "copying a strided tensor") : CASTOFF_OK;
}

static castoff_status copy_on_device(castoff_device *device, cudaStream_t stream, const DLTensor *tensor, void *dense,
                                     int to_dense) {
  if (!castoff_is_contiguous(tensor)) return copy_strided(device, stream, tensor, dense, to_dense);
  void *data = castoff_tensor_data(tensor);
  return castoff_cuda_check(device,
                            cudaMemcpyAsync(to_dense ? dense : data, to_dense ? data : dense, size_of(tensor),
                                            cudaMemcpyDeviceToDevice, stream),
                            "copying a tensor");
}

/* What is done without a run goes through the stream of the thread and is waited for. */
static cudaStream_t stream_of(const castoff_device_run *run) { return run ? run->stream : cudaStreamPerThread; }

static castoff_status finish_without(castoff_device *device, const castoff_device_run *run, castoff_status status) {
  if (run || status != CASTOFF_OK) return status;
  return castoff_cuda_check(device, cudaStreamSynchronize(cudaStreamPerThread), "copying a tensor");
}

castoff_status castoff_device_gather(castoff_device *device, castoff_device_run *run, void *dense,
                                     const DLTensor *tensor) {
  const cudaStream_t stream = stream_of(run);
  const size_t size = size_of(tensor);
  if (size == 0) return CASTOFF_OK;
  if (is_on_device(tensor)) return finish_without(device, run, copy_on_device(device, stream, tensor, dense, 1));
  const int is_direct =
      castoff_is_contiguous(tensor) && (!run || tensor->device.device_type == CASTOFF_DEVICE_CUDA_HOST);
  void *host = castoff_tensor_data(tensor), *own = NULL;
  if (!is_direct) {
    host = run ? castoff_context_host_block(run->context, size) : (own = castoff_aligned_allocate(size));
    if (!host) return castoff_refuse(CASTOFF_OUT_OF_MEMORY, "out of memory: %zu bytes for a copy", size);
    castoff_gather(host, tensor);
  }
  const castoff_status status =
      castoff_cuda_check(device, cudaMemcpyAsync(dense, host, size, cudaMemcpyHostToDevice, stream), "copying an input");
  const castoff_status finished = finish_without(device, run, status);
  free(own);
  return finished;
}

castoff_status castoff_device_scatter(castoff_device *device, castoff_device_run *run, const DLTensor *tensor,
                                      const void *dense) {
  const cudaStream_t stream = stream_of(run);
  const size_t size = size_of(tensor);
  if (size == 0) return CASTOFF_OK;
  if (is_on_device(tensor))
    return finish_without(device, run, copy_on_device(device, stream, tensor, (void *)(uintptr_t)dense, 0));
  if (run) run->has_copied_to_host = 1;
  const int is_direct = castoff_is_contiguous(tensor);
  void *host = is_direct ? castoff_tensor_data(tensor) : castoff_aligned_allocate(size);
  if (!host) return castoff_refuse(CASTOFF_OUT_OF_MEMORY, "out of memory: %zu bytes for a copy", size);
  castoff_status status =
      castoff_cuda_check(device, cudaMemcpyAsync(host, dense, size, cudaMemcpyDeviceToHost, stream), "copying an output");
  if (is_direct) return finish_without(device, run, status);
  if (status == CASTOFF_OK) status = castoff_cuda_check(device, cudaStreamSynchronize(stream), "copying an output");
  if (status == CASTOFF_OK) castoff_scatter(tensor, host);
  free(host);
  return status;
}

castoff_status castoff_device_copy(castoff_device *device, void *target, const void *source, size_t size_bytes) {
  if (size_bytes == 0) return CASTOFF_OK;
  const cudaError_t error =
      source ? cudaMemcpyAsync(target, source, size_bytes, cudaMemcpyDeviceToDevice, cudaStreamPerThread)
             : cudaMemsetAsync(target, 0, size_bytes, cudaStreamPerThread);
  return finish_without(device, NULL, castoff_cuda_check(device, error, "setting a buffer"));
}

/* ---- streams ---- */

/* As DLPack numbers them: 0 and 1 the legacy default stream, 2 that of the thread. */
static cudaStream_t as_stream(void *stream) {
  if (!stream || (uintptr_t)stream == 1) return cudaStreamLegacy;
  return (uintptr_t)stream == 2 ? cudaStreamPerThread : (cudaStream_t)stream;
}

static castoff_status check_stream(castoff_device *device, cudaStream_t stream) {
  int id = device->id;
  if (stream == cudaStreamLegacy || stream == cudaStreamPerThread) return CASTOFF_OK;
  const cudaError_t error = cudaStreamGetDevice(stream, &id);
  if (error != cudaSuccess) return castoff_cuda_check(device, error, "asking for the device of a stream");
  if (id == device->id) return CASTOFF_OK;
  return castoff_refuse(CASTOFF_INPUT_MISMATCH, "stream: expected one of cuda:%d, got one of cuda:%d", device->id, id);
}

castoff_status castoff_device_order_streams(castoff_device *device, void *producer, void *consumer) {
  const cudaStream_t first = as_stream(producer), second = as_stream(consumer);
  if (first == second) return CASTOFF_OK;
  return castoff_cuda_check(device, castoff_cuda_order(first, second), "an event between two streams");
}

castoff_status castoff_device_copy_to_host(castoff_device *device, void *host, const DLTensor *tensor, void *given) {
  const cudaStream_t stream = as_stream(given);
  const size_t size = size_of(tensor);
  if (size == 0) return CASTOFF_OK;
  const castoff_status status = castoff_cuda_check(
      device, cudaMemcpyAsync(host, castoff_tensor_data(tensor), size, cudaMemcpyDeviceToHost, stream), "copy to the host");
  return status == CASTOFF_OK ? castoff_cuda_check(device, cudaStreamSynchronize(stream), "copy to the host") : status;
}

castoff_status castoff_device_take_buffers(castoff_device *device, castoff_device_run *run) {
  if (!run) return castoff_cuda_check(device, cudaEventSynchronize(device->buffers_done), "waiting for the buffers");
  return castoff_cuda_check(device, cudaStreamWaitEvent(run->stream, device->buffers_done, 0), "waiting for the buffers");
}

castoff_status castoff_device_give_buffers(castoff_device *device, castoff_device_run *run) {
  return castoff_cuda_check(device, cudaEventRecord(device->buffers_done, run->stream), "an event for the buffers");
}

/* ---- indices out of range ---- */

int *castoff_frame_faults(castoff_frame *frame, int count) {
  castoff_device_run *run = frame->context->device_run;
  if (run->fault_count >= count) return run->faults;
  castoff_device *device = run->device;
  castoff_device_free(device, run->faults);
  castoff_device_free_host(device, run->reported_faults);
  const size_t size = (size_t)count * sizeof(int);
  run->fault_count = 0;
  run->faults = castoff_device_allocate(device, size);
  run->reported_faults = castoff_device_allocate_host(device, size);
  frame->context->memory_version++;
  if (!run->faults || !run->reported_faults) {
    castoff_device_no_memory(device, size, "for the state of a run");
    return NULL;
  }
  memset(run->reported_faults, 0, size);
  if (castoff_cuda_check(device, cudaMemsetAsync(run->faults, 0, size, run->stream), "clearing memory") != CASTOFF_OK)
    return NULL;
  run->fault_count = count;
  return run->faults;
}

int castoff_frame_report_faults(castoff_frame *frame, int count, const char *const *messages) {
  castoff_device_run *run = frame->context->device_run;
  run->fault_messages = messages;
  return (int)castoff_cuda_check(run->device,
                                 cudaMemcpyAsync(run->reported_faults, run->faults, (size_t)count * sizeof(int),
                                                 cudaMemcpyDeviceToHost, (cudaStream_t)frame->stream),
                                 "copy to the host");
}

/* What the last report that has arrived says. */
static castoff_status take_faults(castoff_device_run *run) {
  for (int i = 0; i < run->fault_count; i++) {
    if (!((volatile int *)run->reported_faults)[i]) continue;
    memset(run->reported_faults, 0, (size_t)run->fault_count * sizeof(int));
    const castoff_status status = castoff_cuda_check(
        run->device, cudaMemsetAsync(run->faults, 0, (size_t)run->fault_count * sizeof(int), run->stream),
        "clearing memory");
    return status != CASTOFF_OK ? status : castoff_refuse(CASTOFF_RUNTIME_ERROR, "%s", run->fault_messages[i]);
  }
  return CASTOFF_OK;
}

castoff_status castoff_device_learn(castoff_device_run *run, void *stream) {
  if (run->stream != as_stream(stream)) return CASTOFF_OK;
  if (run->is_pending && cudaEventQuery(run->done) != cudaSuccess) return CASTOFF_OK;
  run->is_pending = 0;
  return take_faults(run);
}

/* ---- runs ---- */

castoff_status castoff_device_new_run(castoff_device *device, castoff_run_context *context, castoff_device_run **made) {
  castoff_device_run *run = calloc(1, sizeof(*run));
  if (!run) return castoff_refuse(CASTOFF_OUT_OF_MEMORY, "out of memory for the state of a run");
  run->device = device;
  run->context = context;
  cudaError_t error = cudaStreamCreateWithFlags(&run->own_stream, cudaStreamDefault);
  if (error == cudaSuccess) error = cudaEventCreateWithFlags(&run->done, cudaEventDisableTiming);
  run->stream = run->own_stream;
  *made = run;
  return castoff_cuda_check(device, error, "a stream for runs");
}

void castoff_device_free_run(castoff_device_run *run) {
  if (!run) return;
  if (run->is_pending) cudaEventSynchronize(run->done);
  castoff_graph_free_all(run);
  castoff_device_free(run->device, run->faults);
  castoff_device_free_host(run->device, run->reported_faults);
  if (run->done) cudaEventDestroy(run->done);
  if (run->own_stream) cudaStreamDestroy(run->own_stream);
  free(run);
}

int castoff_device_is_ready(castoff_device_run *run, void *stream) {
  if (!run->is_pending || run->stream == as_stream(stream)) return 1;
  if (cudaEventQuery(run->done) == cudaErrorNotReady) return 0;
  run->is_pending = 0;
  return 1;
}

static int has_results_on_host(const castoff_run_context *context) {
  const castoff_program *program = context->program;
  const castoff_call *call = context->call;
  for (int i = 0; i < program->n_outputs; i++)
    if (call->outputs[i] && !is_on_device(call->outputs[i])) return 1;
  for (int i = 0; i < program->n_inputs; i++)
    if (program->inputs[i].flags & CASTOFF_MUTATED && !is_on_device(call->inputs[i])) return 1;
  return 0;
}

castoff_status castoff_device_begin(castoff_device_run *run, void *given, int is_waited_for) {
  castoff_device *device = run->device;
  const cudaStream_t stream = is_waited_for ? run->own_stream : as_stream(given);
  castoff_status status = check_stream(device, stream);
  if (status != CASTOFF_OK) return status;
  if (run->is_pending && run->context->host_blocks.count > 0) {
    status = castoff_device_wait(run);
    if (status != CASTOFF_OK) return status;
  }
  if (run->is_pending && stream != run->stream)
    status = castoff_cuda_check(device, cudaStreamWaitEvent(stream, run->done, 0), "waiting for an earlier run");
  run->stream = stream;
  run->is_waited_for = is_waited_for || has_results_on_host(run->context);
  run->has_copied_to_host = 0;
  return status == CASTOFF_OK ? take_faults(run) : status;
}

void *castoff_device_allocate_output(castoff_device_run *run, size_t size_bytes) {
  void *memory = NULL;
  if (!run->device->has_pools) return castoff_device_allocate(run->device, size_bytes);
  if (cudaMallocAsync(&memory, size_bytes ? size_bytes : 1, run->stream) == cudaSuccess) return memory;
  cudaGetLastError();
  return NULL;
}

void castoff_device_release_output(castoff_device_run *run, void *memory) {
  castoff_device_release_on_stream(memory, run->stream);
}

castoff_status castoff_device_launch(castoff_device_run *run, castoff_frame *frame,
                                     int (*function)(castoff_frame *frame)) {
  frame->stream = run->stream;
  castoff_status status = CASTOFF_OK;
  if (run->device->flags & CASTOFF_CUDA_GRAPHS)
    status = castoff_graph_launch(run, frame, function);
  else
    status = (castoff_status)function(frame);
  if (status == CASTOFF_DEVICE_ERROR) castoff_cuda_notice_loss(run->device, castoff_error_message());
  return status;
}

castoff_status castoff_device_wait(castoff_device_run *run) {
  if (run->is_pending) {
    const castoff_status status = castoff_cuda_check(run->device, cudaEventSynchronize(run->done), "a run on the device");
    if (status != CASTOFF_OK) return status;
    run->is_pending = 0;
  }
  return take_faults(run);
}

/* After a refusal nothing of the run is left on the stream: the caller may do with its memory what it likes. */
castoff_status castoff_device_end(castoff_device_run *run, castoff_status status) {
  castoff_device *device = run->device;
  if (!run->is_waited_for && !run->has_copied_to_host && status == CASTOFF_OK) {
    const cudaError_t recorded = cudaEventRecord(run->done, run->stream);
    run->is_pending = recorded == cudaSuccess;
    if (run->is_pending) return CASTOFF_OK;
    status = castoff_cuda_check(device, recorded, "an event at the end of a run");
  }
  const cudaError_t error = cudaStreamSynchronize(run->stream);
  run->is_pending = 0;
  if (status != CASTOFF_OK) return status;
  status = castoff_cuda_check(device, error, "a run on the device");
  return status == CASTOFF_OK ? take_faults(run) : status;
}
