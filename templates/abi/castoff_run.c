/* castoff_run.c: one call, from the caller's tensors to the frame of the generated program and back. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "castoff_instance.h"

/* ---- contexts ---- */

static void free_context(castoff_run_context *context) {
  if (!context) return;
  for (int i = 0; i < context->n_blocks; i++) free(context->blocks[i].memory);
  free(context->blocks);
  free(context->arena);
  free(context->inputs);
  free(context->outputs);
  free(context->output_owned);
  free(context->output_shapes);
  free(context->written);
  free(context->views);
  free(context->symbols);
  free(context);
}

static void *zeroed(int64_t count, size_t size) { return calloc(count > 0 ? (size_t)count : 1, size); }

/* One row of sizes per output, behind the row pointers in the same allocation. */
static int64_t **allocate_shapes(const castoff_program *program) {
  int64_t sizes = 0;
  for (int i = 0; i < program->n_outputs; i++) sizes += program->outputs[i].rank;
  int64_t **rows = zeroed(program->n_outputs + sizes, sizeof(int64_t));
  if (!rows) return NULL;
  int64_t *row = (int64_t *)(rows + program->n_outputs);
  for (int i = 0; i < program->n_outputs; i++) {
    rows[i] = row;
    row += program->outputs[i].rank;
  }
  return rows;
}

_Static_assert(sizeof(int64_t *) <= sizeof(int64_t), "row pointers share an allocation with sizes");

static castoff_run_context *new_context(const castoff_program *program) {
  castoff_run_context *context = calloc(1, sizeof(*context));
  if (!context) return NULL;
  context->program = program;
  context->inputs = zeroed(program->n_inputs, sizeof(void *));
  context->outputs = zeroed(program->n_outputs, sizeof(void *));
  context->output_owned = zeroed(program->n_outputs, 1);
  context->output_shapes = allocate_shapes(program);
  context->written = zeroed((int64_t)program->n_outputs + program->n_inputs, sizeof(castoff_range));
  context->views = zeroed(program->n_inputs, sizeof(castoff_input_view));
  context->symbols = zeroed(program->n_symbols, sizeof(int64_t));
  if (context->inputs && context->outputs && context->output_owned && context->output_shapes && context->written &&
      context->views && context->symbols)
    return context;
  free_context(context);
  return NULL;
}

/* The list only grows, so walking and pushing need no lock and know no ABA. */
static castoff_run_context *take_context(castoff_instance *instance) {
  for (castoff_run_context *context = atomic_load(&instance->contexts); context; context = context->next) {
    int free_to_take = 0;
    if (atomic_load_explicit(&context->taken, memory_order_relaxed) == 0 &&
        atomic_compare_exchange_strong(&context->taken, &free_to_take, 1))
      return context;
  }
  castoff_run_context *context = new_context(instance->program);
  if (!context) {
    castoff_refuse(CASTOFF_OUT_OF_MEMORY, "out of memory for the state of a run");
    return NULL;
  }
  atomic_store(&context->taken, 1);
  context->next = atomic_load(&instance->contexts);
  while (!atomic_compare_exchange_weak(&instance->contexts, &context->next, context)) continue;
  return context;
}

static void give_back_context(castoff_run_context *context) {
  for (int i = 0; i < context->n_blocks; i++) context->blocks[i].in_use = 0;
  castoff_unpin_constants(context);
  atomic_store_explicit(&context->taken, 0, memory_order_release);
}

void castoff_free_contexts(castoff_instance *instance) {
  castoff_run_context *context = atomic_load(&instance->contexts);
  while (context) {
    castoff_run_context *next = context->next;
    free_context(context);
    context = next;
  }
  atomic_store(&instance->contexts, NULL);
}

/* ---- memory of a run ---- */

/* A free block that is large enough but not wasteful, else one that is let go, else a new one. */
static castoff_block *block_for(castoff_run_context *context, size_t size_bytes) {
  castoff_block *unused = NULL;
  for (int i = 0; i < context->n_blocks; i++) {
    castoff_block *block = &context->blocks[i];
    if (block->in_use) continue;
    if (block->size_bytes >= size_bytes && block->size_bytes / 4 <= size_bytes) return block;
    unused = block;
  }
  if (unused) return unused;
  castoff_block *blocks = realloc(context->blocks, sizeof(*blocks) * (size_t)(context->n_blocks + 1));
  if (!blocks) return NULL;
  context->blocks = blocks;
  castoff_block *block = &blocks[context->n_blocks++];
  memset(block, 0, sizeof(*block));
  return block;
}

static void *allocate_block(castoff_run_context *context, size_t size_bytes) {
  castoff_block *block = block_for(context, size_bytes);
  if (block && (!block->memory || block->size_bytes < size_bytes || block->size_bytes / 4 > size_bytes)) {
    free(block->memory);
    block->memory = castoff_aligned_allocate(size_bytes);
    block->size_bytes = block->memory ? size_bytes : 0;
  }
  if (!block || !block->memory) {
    castoff_refuse(CASTOFF_OUT_OF_MEMORY, "out of memory: %zu bytes of scratch", size_bytes);
    return NULL;
  }
  block->in_use = 1;
  return block->memory;
}

/* Large arenas are touched all over in every run: huge pages spare them most of their TLB misses. */
static unsigned char *allocate_arena(size_t size_bytes) {
  enum { HUGE_PAGE = 1 << 21 };
  void *memory = NULL;
  if (size_bytes < 2 * HUGE_PAGE) return castoff_aligned_allocate(size_bytes);
  if (posix_memalign(&memory, HUGE_PAGE, size_bytes) != 0) return NULL;
#if defined(MADV_HUGEPAGE)
  madvise(memory, size_bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

static castoff_status grow_arena(castoff_run_context *context) {
  const castoff_program *program = context->program;
  const size_t wanted = program->arena_bytes ? program->arena_bytes(context->symbols) : 0;
  if (wanted <= context->arena_size_bytes) return CASTOFF_OK;
  free(context->arena);
  context->arena = wanted <= (size_t)PTRDIFF_MAX ? allocate_arena(wanted) : NULL;
  context->arena_size_bytes = context->arena ? wanted : 0;
  return context->arena ? CASTOFF_OK
                        : castoff_refuse(CASTOFF_OUT_OF_MEMORY, "out of memory: %zu bytes of working memory", wanted);
}

void *castoff_frame_scratch(castoff_frame *frame, size_t size_bytes) {
  return allocate_block(frame->context, size_bytes);
}

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
static void *allocate_output(castoff_run_context *context, int output, const int64_t *shape) {
  const castoff_tensor_spec *spec = &context->program->outputs[output];
  const castoff_call *call = context->call;
  DLTensor *tensor = call->outputs[output];
  int overflow = 0;
  const size_t size = castoff_dense_size(spec->rank, shape, spec->dtype, &overflow);
  void *memory = NULL;
  if (!overflow)
    memory = call->allocate ? call->allocate(call->user, output, size, spec->rank, shape)
                            : castoff_aligned_allocate(size);
  if (!memory) {
    char text[256];
    castoff_format_tensor(text, sizeof(text), spec->dtype, spec->rank, shape);
    castoff_refuse(CASTOFF_OUT_OF_MEMORY, "%s: no memory for %s", spec->path, text);
    return NULL;
  }
  for (int i = 0; i < spec->rank; i++) tensor->shape[i] = shape[i];
  tensor->data = memory;
  tensor->byte_offset = 0;
  tensor->dtype = spec->dtype;
  tensor->ndim = spec->rank;
  tensor->strides = NULL;
  tensor->device.device_type = 1;
  tensor->device.device_id = 0;
  context->output_owned[output] = 1;
  context->outputs[output] = memory;
  return memory;
}

/* The caller's own memory, or a dense stand-in where that is strided or misaligned. */
static void *borrow_output(castoff_run_context *context, int output, const int64_t *shape) {
  const castoff_tensor_spec *spec = &context->program->outputs[output];
  const DLTensor *tensor = context->call->outputs[output];
  if (castoff_check_tensor("output", spec->path, tensor, spec->dtype, spec->rank, shape) != CASTOFF_OK) return NULL;
  int overflow = 0;
  void *memory = castoff_tensor_data(tensor);
  const size_t size = castoff_dense_size(spec->rank, shape, spec->dtype, &overflow);
  if (!memory || !castoff_is_contiguous(tensor) || !castoff_is_aligned(tensor)) memory = allocate_block(context, size);
  context->outputs[output] = memory;
  return memory;
}

static void *provide_output(castoff_run_context *context, int output, const int64_t *shape) {
  return context->call->outputs[output]->data ? borrow_output(context, output, shape)
                                              : allocate_output(context, output, shape);
}

void *castoff_frame_allocate_output(castoff_frame *frame, int output, int rank, const int64_t *shape) {
  const castoff_tensor_spec *spec = &frame->context->program->outputs[output];
  if (rank != spec->rank || frame->outputs[output]) {
    castoff_refuse(CASTOFF_RUNTIME_ERROR, "%s: allocated twice or with another rank", spec->path);
    return NULL;
  }
  return provide_output(frame->context, output, shape);
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
    if (!provide_output(context, i, context->output_shapes[i]))
      return tensor->data ? CASTOFF_INPUT_MISMATCH : CASTOFF_OUT_OF_MEMORY;
  }
  return CASTOFF_OK;
}

/* The inverse of prepare_outputs(); after a run that failed, nothing of it is left with the caller. */
static castoff_status settle_outputs(castoff_run_context *context, castoff_status status) {
  const castoff_program *program = context->program;
  const castoff_call *call = context->call;
  for (int i = 0; i < program->n_outputs; i++) {
    DLTensor *tensor = call->outputs[i];
    if (status == CASTOFF_OK && !context->outputs[i])
      status = castoff_refuse(CASTOFF_RUNTIME_ERROR, "%s: the program gave no value", program->outputs[i].path);
    if (status == CASTOFF_OK && tensor->data && context->outputs[i] != castoff_tensor_data(tensor))
      castoff_scatter(tensor, context->outputs[i]);
  }
  for (int i = 0; status != CASTOFF_OK && i < program->n_outputs; i++)
    if (context->output_owned[i]) {
      if (!call->allocate) free(call->outputs[i]->data);
      call->outputs[i]->data = NULL;
    }
  return status;
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
  DLTensor *const *inputs = context->call->inputs;
  note_written(context);
  for (int i = 0; i < program->n_inputs; i++) {
    context->inputs[i] = castoff_tensor_data(inputs[i]);
    if (!context->inputs[i]) { /* no elements: loops do not run, but what they read first may be read before them */
      static unsigned char nothing[CASTOFF_ALIGNMENT];
      context->inputs[i] = nothing;
      continue;
    }
    if (castoff_is_contiguous(inputs[i]) && castoff_is_aligned(inputs[i]) && !is_written_elsewhere(context, i)) continue;
    int overflow = 0;
    const size_t size = castoff_dense_size(inputs[i]->ndim, inputs[i]->shape, inputs[i]->dtype, &overflow);
    unsigned char *dense = overflow ? NULL : allocate_block(context, size);
    if (!dense) return castoff_refuse(CASTOFF_OUT_OF_MEMORY, "%s: out of memory for a copy", program->inputs[i].path);
    castoff_gather(dense, inputs[i]);
    context->inputs[i] = dense;
  }
  return CASTOFF_OK;
}

static void write_back_inputs(castoff_run_context *context) {
  const castoff_program *program = context->program;
  DLTensor *const *inputs = context->call->inputs;
  for (int i = 0; i < program->n_inputs; i++)
    if (program->inputs[i].flags & CASTOFF_MUTATED && context->inputs[i] != castoff_tensor_data(inputs[i]))
      castoff_scatter(inputs[i], context->inputs[i]);
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
  if (program->n_buffers > 0) pthread_mutex_lock(&instance->buffers_lock);
  const castoff_status status = (castoff_status)program->run[instance->level](&frame);
  if (program->n_buffers > 0) pthread_mutex_unlock(&instance->buffers_lock);
  return status;
}

static castoff_status run_in_context(castoff_instance *instance, castoff_run_context *context) {
  castoff_status status = castoff_resolve(context->program, context->call->inputs, context->views, context->symbols);
  if (status != CASTOFF_OK) return status;
  if ((status = grow_arena(context)) != CASTOFF_OK) return status;
  for (int i = 0; i < context->program->n_outputs; i++) {
    context->outputs[i] = NULL;
    context->output_owned[i] = 0;
  }
  status = prepare_outputs(context);
  if (status == CASTOFF_OK) status = prepare_inputs(context);
  if (status == CASTOFF_OK) status = run_program(instance, context);
  status = settle_outputs(context, status);
  if (status == CASTOFF_OK) write_back_inputs(context);
  return status;
}

castoff_status castoff_run(castoff_instance *instance, const castoff_call *call) {
  if (!instance || !call) return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "expected an instance and a call, got NULL");
  castoff_status status =
      check_counts(instance->program, call->n_inputs, call->inputs, call->n_outputs, call->outputs);
  if (status != CASTOFF_OK) return status;
  castoff_run_context *context = take_context(instance);
  if (!context) return CASTOFF_OUT_OF_MEMORY;
  context->call = call;
  status = run_in_context(instance, context);
  context->call = NULL;
  give_back_context(context);
  return status;
}

castoff_status castoff_output_shapes(castoff_instance *instance, int32_t n_inputs, DLTensor *const *inputs,
                                     int32_t n_outputs, int64_t *const *shapes) {
  if (!instance) return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "expected an instance, got NULL");
  castoff_status status = check_counts(instance->program, n_inputs, inputs, n_outputs, shapes);
  if (status != CASTOFF_OK) return status;
  castoff_run_context *context = take_context(instance);
  if (!context) return CASTOFF_OUT_OF_MEMORY;
  status = castoff_resolve(instance->program, inputs, context->views, context->symbols);
  if (status == CASTOFF_OK) shapes_of_outputs(context, shapes);
  give_back_context(context);
  return status;
}
