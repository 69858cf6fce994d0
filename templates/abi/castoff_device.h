/* castoff_device.h: where a program runs, as the rest of the ABI layer sees it.
 *
 * castoff_device_cpu.c and castoff_device_cuda.c each define all of these functions; an artefact has one of them. "Device
 * memory" is what kernels read and write. Tensors of callers lie there, or on the host, or where the device cannot reach
 * them. Functions that return a status, or NULL, have set the sentence.
 */
#ifndef CASTOFF_DEVICE_H
#define CASTOFF_DEVICE_H

#include "castoff_internal.h"

/* Of an instance; NULL where there is nothing to know. */
typedef struct castoff_device castoff_device;
/* Of a run context: the stream it works on. NULL where there is none. */
typedef struct castoff_device_run castoff_device_run;

/* ---- the device of an instance ---- */

castoff_status castoff_device_open(const castoff_program *program, int32_t device_id, uint32_t flags,
                                   castoff_device **device);
void castoff_device_close(castoff_device *device);
DLDevice castoff_device_of(const castoff_device *device);

/* Between these two the calling thread works on the device; `previous` is what the second needs to know. Refuses where the
 * device failed before. */
castoff_status castoff_device_enter(castoff_device *device, int *previous);
void castoff_device_leave(int previous);

/* In the child of a fork, before anything else runs. */
void castoff_device_after_fork(castoff_device *device);

/* ---- memory ---- */

/* NULL where there is none; no sentence. */
void *castoff_device_allocate(castoff_device *device, size_t size_bytes);
void castoff_device_free(castoff_device *device, void *memory);
void *castoff_device_allocate_host(castoff_device *device, size_t size_bytes);
void castoff_device_free_host(castoff_device *device, void *memory);
/* An arena of the instance had `was_bytes`, and is to have `is_bytes`. */
void castoff_device_note_arena(castoff_device *device, size_t was_bytes, size_t is_bytes);
/* "out of memory: 12 bytes for `what`", and what the device knows of its memory: what arenas and constants take, what is
 * free. Returns CASTOFF_OUT_OF_MEMORY. */
castoff_status castoff_device_no_memory(const castoff_device *device, size_t size_bytes, const char *what);

/* Where each constant of the image lies in device memory, shared by all instances; what it needs is kept until
 * castoff_device_close(). */
castoff_status castoff_device_constants(castoff_device *device, const castoff_program *program,
                                        const castoff_image *image, const void *const *given, const void **addresses);

/* ---- tensors ---- */

/* Whether the device can reach the tensor at all. `what` and `name` begin the sentence. */
castoff_status castoff_device_accepts(const castoff_device *device, const char *what, const char *name,
                                      const DLTensor *tensor);
/* Whether kernels can use the tensor as it is. */
int castoff_device_holds(const castoff_device *device, const DLTensor *tensor);
/* Says in tensor->device where an output without data is made; whether kernels can use what is made there. */
int castoff_device_places(const castoff_device *device, DLTensor *tensor);

/* Device memory from a tensor anywhere, and back; the device does it in the order of the run. Without a run: now. */
castoff_status castoff_device_gather(castoff_device *device, castoff_device_run *run, void *dense, const DLTensor *tensor);
castoff_status castoff_device_scatter(castoff_device *device, castoff_device_run *run, const DLTensor *tensor,
                                      const void *dense);
/* Contiguous device memory of a tensor into host memory, after what the stream holds; returns when it is done. */
castoff_status castoff_device_copy_to_host(castoff_device *device, void *host, const DLTensor *tensor, void *stream);
/* From device memory to device memory; `source` NULL: zeros. Now. */
castoff_status castoff_device_copy(castoff_device *device, void *target, const void *source, size_t size_bytes);

/* ---- runs ---- */

castoff_status castoff_device_new_run(castoff_device *device, struct castoff_run_context *context,
                                      castoff_device_run **run);
void castoff_device_free_run(castoff_device_run *run);
/* Whether the run can begin on the stream without waiting for what it did before. */
int castoff_device_is_ready(castoff_device_run *run, void *stream);
/* `stream`: as in castoff_api.run_on_stream; with `is_waited_for` the run's own, and the caller waits for the results. */
castoff_status castoff_device_begin(castoff_device_run *run, void *stream, int is_waited_for);
/* Memory for an output in device memory, which castoff_device_release() takes back; the second function does so in the order
 * of the run. */
void *castoff_device_allocate_output(castoff_device_run *run, size_t size_bytes);
void castoff_device_release_output(castoff_device_run *run, void *memory);
castoff_status castoff_device_launch(castoff_device_run *run, castoff_frame *frame, int (*function)(castoff_frame *frame));
/* After the last copy: waits where the caller does. Returns `status`, or what the device refused. */
castoff_status castoff_device_end(castoff_device_run *run, castoff_status status);
/* Waits for what the run has enqueued. */
castoff_status castoff_device_wait(castoff_device_run *run);
/* Refuses where the last run, on the stream, is done and found an index out of range. */
castoff_status castoff_device_learn(castoff_device_run *run, void *stream);

/* One run after the other reads and writes the buffers of an instance; the caller holds their lock. */
castoff_status castoff_device_take_buffers(castoff_device *device, castoff_device_run *run);
castoff_status castoff_device_give_buffers(castoff_device *device, castoff_device_run *run);

/* ---- without an instance ---- */

void castoff_device_release(void *memory);
void castoff_device_release_on_stream(void *memory, void *stream);
/* Once the streams, of which the one that it was made on comes first, are done with what they hold; `count` 0: once the
 * device is. Whether it was given back: not while one of them is recorded. */
int castoff_device_release_after(void *memory, void *const *streams, int count);
castoff_status castoff_device_order_streams(castoff_device *device, void *producer, void *consumer);

#endif
