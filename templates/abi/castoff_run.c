/* castoff_run.c: one call, from the caller's tensors to the frame of the generated program and back. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "castoff_instance.h"

int castoff_fail(castoff_frame *frame, int status, const char *format, ...) {
  (void)frame;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(castoff_error_message(), CASTOFF_ERROR_SIZE, format, arguments);
  va_end(arguments);
  return status;
}

/* ---- outputs ---- */

/* Memory for an output the caller gave no data for, with its tensor filled in. */
static castoff_status allocate_output(castoff_run_context *context, int output, const int64_t *shape) {
  const castoff_tensor_spec *spec = &context->program->outputs[output];
  const castoff_call *call = context->call;
  DLTensor *tensor = call->outputs[output];
  int overflow = 0;
  const size_t size = castoff_dense_size(spec->rank, shape, spec->dtype, &overflow);
  const int is_direct = castoff_device_places(context->instance->device, tensor);
  void *memory = NULL;
  if (!overflow && call->allocate)
    memory = call->allocate(call->user, output, size, spec->rank, shape);
  else if (!overflow)
    memory = is_direct ? castoff_device_allocate_output(context->device_run, size) : castoff_aligned_allocate(size);
  if (!memory) {
    char text[256];
    char what[CASTOFF_ERROR_SIZE / 2];
    castoff_format_tensor(text, sizeof(text), spec->dtype, spec->rank, shape);
    if (overflow || call->allocate || !is_direct)
      return castoff_refuse(CASTOFF_OUT_OF_MEMORY, "%s: no memory for %s", spec->path, text);
    snprintf(what, sizeof(what), "for %s, %s", spec->path, text);
    return castoff_device_no_memory(context->instance->device, size, what);
  }
  for (int i = 0; i < spec->rank; i++) tensor->shape[i] = shape[i];
  tensor->data = memory;
  tensor->byte_offset = 0;
  tensor->dtype = spec->dtype;
  tensor->ndim = spec->rank;
  tensor->strides = NULL;
  context->output_owned[output] = 1;
  context->outputs[output] = is_direct ? memory : castoff_context_block(context, size);
  return context->outputs[output] ? CASTOFF_OK : CASTOFF_OUT_OF_MEMORY;
}

/* The caller's own memory, or a dense stand-in where that is strided or misaligned. */
static castoff_status borrow_output(castoff_run_context *context, int output, const int64_t *shape) {
  const castoff_tensor_spec *spec = &context->program->outputs[output];
  const DLTensor *tensor = context->call->outputs[output];
  const castoff_device *device = context->instance->device;
  const castoff_status status =
      castoff_check_tensor(device, "output ", spec->path, tensor, spec->dtype, spec->rank, shape);
  if (status != CASTOFF_OK) return status;
  int overflow = 0;
  void *memory = castoff_tensor_data(tensor);
  const size_t size = castoff_dense_size(spec->rank, shape, spec->dtype, &overflow);
  if (!memory || !castoff_device_holds(device, tensor)) memory = castoff_context_block(context, size);
  context->outputs[output] = memory;
  return memory ? CASTOFF_OK : CASTOFF_OUT_OF_MEMORY;
}

static castoff_status provide_output(castoff_run_context *context, int output, const int64_t *shape) {
  return context->call->outputs[output]->data ? borrow_output(context, output, shape)
                                              : allocate_output(context, output, shape);
}

void *castoff_frame_allocate_output(castoff_frame *frame, int output, int rank, const int64_t *shape) {
  const castoff_tensor_spec *spec = &frame->context->program->outputs[output];
  if (rank != spec->rank || frame->outputs[output]) {
    castoff_refuse(CASTOFF_RUNTIME_ERROR, "%s: allocated twice or with another rank", spec->path);
    return NULL;
  }
  return provide_output(frame->context, output, shape) == CASTOFF_OK ? frame->outputs[output] : NULL;
}

static void shapes_of_outputs(castoff_run_context *context, int64_t *const *shapes) {
  const castoff_program *program = context->program;
  for (int i = 0; i < program->n_outputs; i++) {
    const castoff_tensor_spec *spec = &program->outputs[i];
    int is_static = 1;
    for (int axis = 0; axis < spec->rank; axis++) {
      shapes[i][axis] = spec->dims[axis].size;
      is_static &= spec->dims[axis].size >= 0;
    }
    if (!is_static && program->output_shape) program->output_shape(context->symbols, i, shapes[i]);
  }
}

static castoff_status prepare_outputs(castoff_run_context *context) {
  const castoff_program *program = context->program;
  const castoff_call *call = context->call;
  shapes_of_outputs(context, context->output_shapes);
  for (int i = 0; i < program->n_outputs; i++) {
    const DLTensor *tensor = call->outputs[i];
    if (!tensor || (program->outputs[i].rank > 0 && !tensor->shape))
      return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "%s: expected a tensor with room for its shape",
                            program->outputs[i].path);
    if (program->outputs[i].flags & CASTOFF_DATA_DEPENDENT) continue;
    const castoff_status status = provide_output(context, i, context->output_shapes[i]);
    if (status != CASTOFF_OK) return status;
  }
  return CASTOFF_OK;
}

/* The inverse of prepare_outputs(). */
static castoff_status settle_outputs(castoff_run_context *context, castoff_status status) {
  const castoff_program *program = context->program;
  const castoff_call *call = context->call;
  for (int i = 0; i < program->n_outputs; i++) {
    DLTensor *tensor = call->outputs[i];
    if (status == CASTOFF_OK && !context->outputs[i])
      status = castoff_refuse(CASTOFF_RUNTIME_ERROR, "%s: the program gave no value", program->outputs[i].path);
    if (status == CASTOFF_OK && tensor->data && context->outputs[i] != castoff_tensor_data(tensor))
      status = castoff_device_scatter(context->instance->device, context->device_run, tensor, context->outputs[i]);
  }
  return status;
}

static void take_back_outputs(castoff_run_context *context) {
  const castoff_call *call = context->call;
  for (int i = 0; i < context->program->n_outputs; i++)
    if (context->output_owned[i]) {
      if (!call->allocate) castoff_device_release_output(context->device_run, call->outputs[i]->data);
      call->outputs[i]->data = NULL;
    }
}

/* ---- inputs ---- */

/* Where the program writes to memory that the caller can also reach through an input. */
static void note_written(castoff_run_context *context) {
  const castoff_program *program = context->program;
  const castoff_call *call = context->call;
  castoff_range *range = context->written;
  for (int i = 0; i < program->n_outputs; i++, range++) {
    range->begin = range->end = 0;
    if (call->outputs[i]->data && !context->output_owned[i])
      castoff_extent(call->outputs[i], &range->begin, &range->end);
  }
  for (int i = 0; i < program->n_inputs; i++, range++) {
    range->begin = range->end = 0;
    if (program->inputs[i].flags & CASTOFF_MUTATED) castoff_extent(call->inputs[i], &range->begin, &range->end);
  }
}

static int is_written_elsewhere(const castoff_run_context *context, int input) {
  const castoff_program *program = context->program;
  uintptr_t begin, end;
  castoff_extent(context->call->inputs[input], &begin, &end);
  for (int i = 0; i < program->n_outputs + program->n_inputs; i++) {
    const castoff_range *range = &context->written[i];
    if (begin < range->end && range->begin < end && i != program->n_outputs + input) return 1;
  }
  return 0;
}

static castoff_status prepare_inputs(castoff_run_context *context) {
  const castoff_program *program = context->program;
  castoff_device *device = context->instance->device;
  DLTensor *const *inputs = context->call->inputs;
  note_written(context);
  for (int i = 0; i < program->n_inputs; i++) {
    context->inputs[i] = castoff_tensor_data(inputs[i]);
    if (!context->inputs[i]) { /* no elements: loops do not run, but what they read first may be read before them */
      context->inputs[i] = castoff_context_block(context, CASTOFF_ALIGNMENT);
      if (!context->inputs[i]) return CASTOFF_OUT_OF_MEMORY;
      continue;
    }
    if (castoff_device_holds(device, inputs[i]) && !is_written_elsewhere(context, i)) continue;
    int overflow = 0;
    const size_t size = castoff_dense_size(inputs[i]->ndim, inputs[i]->shape, inputs[i]->dtype, &overflow);
    unsigned char *dense = overflow ? NULL : castoff_context_block(context, size);
    if (!dense) return castoff_refuse(CASTOFF_OUT_OF_MEMORY, "%s: out of memory for a copy", program->inputs[i].path);
    const castoff_status status = castoff_device_gather(device, context->device_run, dense, inputs[i]);
    if (status != CASTOFF_OK) return status;
    context->inputs[i] = dense;
  }
  return CASTOFF_OK;
}

static castoff_status write_back_inputs(castoff_run_context *context) {
  const castoff_program *program = context->program;
  DLTensor *const *inputs = context->call->inputs;
  castoff_status status = CASTOFF_OK;
  for (int i = 0; i < program->n_inputs && status == CASTOFF_OK; i++)
    if (program->inputs[i].flags & CASTOFF_MUTATED && castoff_tensor_data(inputs[i]) &&
        context->inputs[i] != castoff_tensor_data(inputs[i]))
      status = castoff_device_scatter(context->instance->device, context->device_run, inputs[i], context->inputs[i]);
  return status;
}

/* ---- the call ---- */

static castoff_status check_counts(const castoff_program *program, int32_t n_inputs, const void *inputs,
                                   int32_t n_outputs, const void *outputs) {
  if (n_inputs != program->n_inputs || (n_inputs > 0 && !inputs))
    return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "expected %d inputs, got %d", program->n_inputs,
                          inputs ? n_inputs : 0);
  if (n_outputs != program->n_outputs || (n_outputs > 0 && !outputs))
    return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "expected %d outputs, got %d", program->n_outputs,
                          outputs ? n_outputs : 0);
  return CASTOFF_OK;
}

static castoff_status run_program(castoff_instance *instance, castoff_run_context *context) {
  const castoff_program *program = instance->program;
  castoff_frame frame = {.inputs = context->inputs,
                         .outputs = context->outputs,
                         .symbols = context->symbols,
                         .constants = castoff_pin_constants(instance, context)->pointers,
                         .buffers = instance->buffers,
                         .arena = context->arena,
                         .pool = &instance->pool,
                         .context = context};
  if (program->n_buffers == 0) return castoff_device_launch(context->device_run, &frame, program->run[instance->level]);
  pthread_mutex_lock(&instance->buffers_lock);
  castoff_status status = castoff_device_take_buffers(instance->device, context->device_run);
  if (status == CASTOFF_OK)
    status = castoff_device_launch(context->device_run, &frame, program->run[instance->level]);
  const castoff_status given = castoff_device_give_buffers(instance->device, context->device_run);
  pthread_mutex_unlock(&instance->buffers_lock);
  return status == CASTOFF_OK ? given : status;
}

static castoff_status run_in_context(castoff_instance *instance, castoff_run_context *context) {
  castoff_status status = castoff_grow_arena(context);
  if (status != CASTOFF_OK) return status;
  for (int i = 0; i < context->program->n_outputs; i++) {
    context->outputs[i] = NULL;
    context->output_owned[i] = 0;
  }
  status = prepare_outputs(context);
  if (status == CASTOFF_OK) status = prepare_inputs(context);
  if (status == CASTOFF_OK) status = run_program(instance, context);
  status = settle_outputs(context, status);
  if (status == CASTOFF_OK) status = write_back_inputs(context);
  status = castoff_device_end(context->device_run, status);
  /* After a run that failed, nothing of it is left with the caller. */
  if (status != CASTOFF_OK) take_back_outputs(context);
  return status;
}

static castoff_status run_on_device(castoff_instance *instance, const castoff_call *call, void *stream,
                                    int is_waited_for) {
  castoff_run_context *context = NULL;
  castoff_status status = castoff_take_context(instance, is_waited_for ? NULL : stream, &context);
  if (status != CASTOFF_OK) return status;
  context->call = call;
  status = castoff_resolve(instance, call->inputs, context->views, context->symbols);
  if (status == CASTOFF_OK) status = castoff_device_begin(context->device_run, stream, is_waited_for);
  if (status == CASTOFF_OK) status = run_in_context(instance, context);
  context->call = NULL;
  castoff_give_back_context(context);
  return status;
}

static castoff_status run(castoff_instance *instance, const castoff_call *call, void *stream, int is_waited_for) {
  if (!instance || !call) return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "expected an instance and a call, got NULL");
  castoff_status status =
      check_counts(instance->program, call->n_inputs, call->inputs, call->n_outputs, call->outputs);
  int previous = -1;
  if (status != CASTOFF_OK || (status = castoff_device_enter(instance->device, &previous)) != CASTOFF_OK) return status;
  status = run_on_device(instance, call, stream, is_waited_for);
  castoff_device_leave(previous);
  return status;
}

castoff_status castoff_run(castoff_instance *instance, const castoff_call *call) { return run(instance, call, NULL, 1); }

castoff_status castoff_run_on_stream(castoff_instance *instance, const castoff_call *call, void *stream) {
  return run(instance, call, stream, 0);
}

/* What runs that nobody is in have to say; `is_waited_for`: those of all streams, once they are done. */
static castoff_status ask_runs(castoff_instance *instance, void *stream, int is_waited_for) {
  castoff_status status = CASTOFF_OK;
  for (castoff_run_context *context = atomic_load(&instance->contexts); context && status == CASTOFF_OK;
       context = context->next) {
    int free_to_take = 0; /* one that is taken has a caller who is told what becomes of it */
    if (!atomic_compare_exchange_strong(&context->taken, &free_to_take, 1)) continue;
    status = is_waited_for ? castoff_device_wait(context->device_run) : castoff_device_learn(context->device_run, stream);
    atomic_store_explicit(&context->taken, 0, memory_order_release);
  }
  return status;
}

castoff_status castoff_learn_of_runs(castoff_instance *instance, void *stream) { return ask_runs(instance, stream, 0); }

castoff_status castoff_synchronize_runs(castoff_instance *instance) {
  if (!instance) return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "expected an instance, got NULL");
  int previous = -1;
  castoff_status status = castoff_device_enter(instance->device, &previous);
  if (status != CASTOFF_OK) return status;
  status = ask_runs(instance, NULL, 1);
  castoff_device_leave(previous);
  return status;
}

castoff_status castoff_output_shapes(castoff_instance *instance, int32_t n_inputs, DLTensor *const *inputs,
                                     int32_t n_outputs, int64_t *const *shapes) {
  if (!instance) return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "expected an instance, got NULL");
  castoff_status status = check_counts(instance->program, n_inputs, inputs, n_outputs, shapes);
  if (status != CASTOFF_OK) return status;
  int previous = -1;
  if ((status = castoff_device_enter(instance->device, &previous)) != CASTOFF_OK) return status;
  castoff_run_context *context = NULL;
  status = castoff_take_context(instance, NULL, &context);
  if (status == CASTOFF_OK) status = castoff_resolve(instance, inputs, context->views, context->symbols);
  if (status == CASTOFF_OK) shapes_of_outputs(context, shapes);
  if (context) castoff_give_back_context(context);
  castoff_device_leave(previous);
  return status;
}
