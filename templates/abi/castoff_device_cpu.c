/* castoff_device_cpu.c: the processor as a device: its memory is the host's, and what is done is done. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "castoff_instance.h"
#include "castoff_watch.h"

castoff_status castoff_device_open(const castoff_program *program, int32_t device_id, uint32_t flags,
                                   castoff_device **device) {
  (void)program;
  (void)device_id;
  (void)flags;
  *device = NULL;
  return CASTOFF_OK;
}

void castoff_device_close(castoff_device *device) { (void)device; }

DLDevice castoff_device_of(const castoff_device *device) {
  (void)device;
  return (DLDevice){CASTOFF_DEVICE_CPU, 0};
}

castoff_status castoff_device_enter(castoff_device *device, int *previous) {
  (void)device;
  (void)previous;
  return CASTOFF_OK;
}

void castoff_device_leave(int previous) { (void)previous; }

void castoff_device_after_fork(castoff_device *device) { (void)device; }

/* ---- memory ---- */

/* What is large is touched all over in every run: huge pages spare it most of its TLB misses. */
void *castoff_device_allocate(castoff_device *device, size_t size_bytes) {
  enum { HUGE_PAGE = 1 << 21 };
  (void)device;
  void *memory = NULL;
  if (size_bytes < 2 * HUGE_PAGE) return castoff_aligned_allocate(size_bytes);
  if (posix_memalign(&memory, HUGE_PAGE, size_bytes) != 0) return NULL;
#if defined(MADV_HUGEPAGE)
  madvise(memory, size_bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

void castoff_device_free(castoff_device *device, void *memory) {
  (void)device;
  free(memory);
}

void *castoff_device_allocate_host(castoff_device *device, size_t size_bytes) {
  (void)device;
  return castoff_aligned_allocate(size_bytes);
}

void castoff_device_free_host(castoff_device *device, void *memory) {
  (void)device;
  free(memory);
}

void castoff_device_note_arena(castoff_device *device, size_t was_bytes, size_t is_bytes) {
  (void)device;
  (void)was_bytes;
  (void)is_bytes;
}

castoff_status castoff_device_no_memory(const castoff_device *device, size_t size_bytes, const char *what) {
  (void)device;
  return castoff_refuse(CASTOFF_OUT_OF_MEMORY, "out of memory: %zu bytes %s", size_bytes, what);
}

castoff_status castoff_device_constants(castoff_device *device, const castoff_program *program,
                                        const castoff_image *image, const void *const *given, const void **addresses) {
  (void)device;
  for (int i = 0; i < program->n_constants; i++) {
    const castoff_constant_spec *spec = &program->constants[i];
    addresses[i] = given ? given[i] : image->weights + spec->offset_bytes;
    if (!given) castoff_hide_padding(image->weights + spec->offset_bytes, (size_t)spec->size_bytes);
  }
  return CASTOFF_OK;
}

/* ---- tensors ---- */

castoff_status castoff_device_accepts(const castoff_device *device, const char *what, const char *name,
                                      const DLTensor *tensor) {
  (void)device;
  if (tensor->device.device_type == CASTOFF_DEVICE_CPU || tensor->device.device_type == CASTOFF_DEVICE_CUDA_HOST)
    return CASTOFF_OK;
  return castoff_refuse(CASTOFF_INPUT_MISMATCH, "%s%s: expected a tensor on the CPU, got one on DLPack device %d", what,
                        name, (int)tensor->device.device_type);
}

int castoff_device_holds(const castoff_device *device, const DLTensor *tensor) {
  (void)device;
  return castoff_is_contiguous(tensor) && castoff_is_aligned(tensor);
}

int castoff_device_places(const castoff_device *device, DLTensor *tensor) {
  tensor->device = castoff_device_of(device);
  return 1;
}

castoff_status castoff_device_gather(castoff_device *device, castoff_device_run *run, void *dense,
                                     const DLTensor *tensor) {
  (void)device;
  (void)run;
  castoff_gather(dense, tensor);
  return CASTOFF_OK;
}

castoff_status castoff_device_scatter(castoff_device *device, castoff_device_run *run, const DLTensor *tensor,
                                      const void *dense) {
  (void)device;
  (void)run;
  castoff_scatter(tensor, dense);
  return CASTOFF_OK;
}

castoff_status castoff_device_copy_to_host(castoff_device *device, void *host, const DLTensor *tensor, void *stream) {
  (void)device;
  (void)stream;
  castoff_gather(host, tensor);
  return CASTOFF_OK;
}

castoff_status castoff_device_copy(castoff_device *device, void *target, const void *source, size_t size_bytes) {
  (void)device;
  if (source)
    memcpy(target, source, size_bytes);
  else
    memset(target, 0, size_bytes);
  return CASTOFF_OK;
}

/* ---- runs ---- */

castoff_status castoff_device_new_run(castoff_device *device, struct castoff_run_context *context,
                                      castoff_device_run **run) {
  (void)device;
  (void)context;
  *run = NULL;
  return CASTOFF_OK;
}

void castoff_device_free_run(castoff_device_run *run) { (void)run; }

int castoff_device_is_ready(castoff_device_run *run, void *stream) {
  (void)run;
  (void)stream;
  return 1;
}

castoff_status castoff_device_begin(castoff_device_run *run, void *stream, int is_waited_for) {
  (void)run;
  (void)stream;
  (void)is_waited_for;
  return CASTOFF_OK;
}

void *castoff_device_allocate_output(castoff_device_run *run, size_t size_bytes) {
  (void)run;
  return castoff_aligned_allocate(size_bytes);
}

void castoff_device_release_output(castoff_device_run *run, void *memory) {
  (void)run;
  free(memory);
}

castoff_status castoff_device_launch(castoff_device_run *run, castoff_frame *frame,
                                     int (*function)(castoff_frame *frame)) {
  (void)run;
  return (castoff_status)function(frame);
}

castoff_status castoff_device_end(castoff_device_run *run, castoff_status status) {
  (void)run;
  return status;
}

castoff_status castoff_device_wait(castoff_device_run *run) {
  (void)run;
  return CASTOFF_OK;
}

castoff_status castoff_device_learn(castoff_device_run *run, void *stream) {
  (void)run;
  (void)stream;
  return CASTOFF_OK;
}

castoff_status castoff_device_take_buffers(castoff_device *device, castoff_device_run *run) {
  (void)device;
  (void)run;
  return CASTOFF_OK;
}

castoff_status castoff_device_give_buffers(castoff_device *device, castoff_device_run *run) {
  (void)device;
  (void)run;
  return CASTOFF_OK;
}

void castoff_device_release(void *memory) { free(memory); }

void castoff_device_release_on_stream(void *memory, void *stream) {
  (void)stream;
  free(memory);
}

int castoff_device_release_after(void *memory, void *const *streams, int count) {
  (void)streams;
  (void)count;
  free(memory);
  return 1;
}

castoff_status castoff_device_order_streams(castoff_device *device, void *producer, void *consumer) {
  (void)device;
  (void)producer;
  (void)consumer;
  return CASTOFF_OK;
}
