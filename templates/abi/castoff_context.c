/* castoff_context.c: what a run needs, kept for the next: tables, an arena, blocks of memory. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "castoff_instance.h"
#include "castoff_watch.h"

/* ---- contexts ---- */

static void free_memory(castoff_device *device, const castoff_blocks *blocks, void *memory) {
  if (blocks->is_on_host)
    castoff_device_free_host(device, memory);
  else
    castoff_device_free(device, memory);
}

static void free_blocks(castoff_device *device, castoff_blocks *blocks) {
  for (int i = 0; i < blocks->count; i++) free_memory(device, blocks, blocks->list[i].memory);
  free(blocks->list);
}

static void free_context(castoff_run_context *context) {
  if (!context) return;
  castoff_device *device = context->instance->device;
  castoff_device_free_run(context->device_run);
  free_blocks(device, &context->blocks);
  free_blocks(device, &context->host_blocks);
  castoff_device_free(device, context->arena);
  castoff_device_note_arena(device, context->arena_size_bytes, 0);
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

static castoff_status new_context(castoff_instance *instance, castoff_run_context **made) {
  const castoff_program *program = instance->program;
  castoff_run_context *context = calloc(1, sizeof(*context));
  if (!context) return castoff_refuse(CASTOFF_OUT_OF_MEMORY, "out of memory for the state of a run");
  context->instance = instance;
  context->program = program;
  context->host_blocks.is_on_host = 1;
  context->inputs = zeroed(program->n_inputs, sizeof(void *));
  context->outputs = zeroed(program->n_outputs, sizeof(void *));
  context->output_owned = zeroed(program->n_outputs, 1);
  context->output_shapes = allocate_shapes(program);
  context->written = zeroed((int64_t)program->n_outputs + program->n_inputs, sizeof(castoff_range));
  context->views = zeroed(program->n_inputs, sizeof(castoff_input_view));
  context->symbols = zeroed(program->n_symbols, sizeof(int64_t));
  castoff_status status;
  if (context->inputs && context->outputs && context->output_owned && context->output_shapes && context->written &&
      context->views && context->symbols)
    status = castoff_device_new_run(instance->device, context, &context->device_run);
  else
    status = castoff_refuse(CASTOFF_OUT_OF_MEMORY, "out of memory for the state of a run");
  if (status == CASTOFF_OK)
    *made = context;
  else
    free_context(context);
  return status;
}

/* The list only grows, so walking and pushing need no lock and know no ABA. */
castoff_status castoff_take_context(castoff_instance *instance, void *stream, castoff_run_context **taken) {
  for (castoff_run_context *context = atomic_load(&instance->contexts); context; context = context->next) {
    int free_to_take = 0;
    if (atomic_load_explicit(&context->taken, memory_order_relaxed) != 0 ||
        !atomic_compare_exchange_strong(&context->taken, &free_to_take, 1))
      continue;
    if (castoff_device_is_ready(context->device_run, stream)) {
      *taken = context;
      return CASTOFF_OK;
    }
    atomic_store_explicit(&context->taken, 0, memory_order_release);
  }
  castoff_run_context *context = NULL;
  const castoff_status status = new_context(instance, &context);
  if (status != CASTOFF_OK) return status;
  atomic_store(&context->taken, 1);
  context->next = atomic_load(&instance->contexts);
  while (!atomic_compare_exchange_weak(&instance->contexts, &context->next, context)) continue;
  *taken = context;
  return CASTOFF_OK;
}

static void drop_blocks(castoff_blocks *blocks, int kept) {
  for (int i = 0; i < blocks->count; i++)
    if (blocks->list[i].in_use > kept) blocks->list[i].in_use = 0;
}

void castoff_context_drop_blocks(castoff_run_context *context, int kept) {
  drop_blocks(&context->blocks, kept);
  drop_blocks(&context->host_blocks, kept);
  context->block_uses = kept;
}

void castoff_give_back_context(castoff_run_context *context) {
  castoff_context_drop_blocks(context, 0);
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
static castoff_block *block_for(castoff_blocks *blocks, size_t size_bytes) {
  castoff_block *unused = NULL;
  for (int i = 0; i < blocks->count; i++) {
    castoff_block *block = &blocks->list[i];
    if (block->in_use) continue;
    if (block->size_bytes >= size_bytes && block->size_bytes / 4 <= size_bytes) return block;
    unused = block;
  }
  if (unused) return unused;
  castoff_block *list = realloc(blocks->list, sizeof(*list) * (size_t)(blocks->count + 1));
  if (!list) return NULL;
  blocks->list = list;
  castoff_block *block = &list[blocks->count++];
  memset(block, 0, sizeof(*block));
  return block;
}

static void *allocate(castoff_run_context *context, castoff_blocks *blocks, size_t size_bytes, const char *what) {
  castoff_device *device = context->instance->device;
  castoff_block *block = block_for(blocks, size_bytes);
  if (block && (!block->memory || block->size_bytes < size_bytes || block->size_bytes / 4 > size_bytes)) {
    free_memory(device, blocks, block->memory);
    block->memory = blocks->is_on_host ? castoff_device_allocate_host(device, size_bytes)
                                       : castoff_device_allocate(device, size_bytes);
    block->size_bytes = block->memory ? size_bytes : 0;
    context->memory_version++;
  }
  if (!block || !block->memory) {
    castoff_device_no_memory(device, size_bytes, what);
    return NULL;
  }
  block->in_use = ++context->block_uses;
  castoff_hide(block->memory, block->size_bytes);
  castoff_show(block->memory, size_bytes);
  return block->memory;
}

void *castoff_context_block(castoff_run_context *context, size_t size_bytes) {
  return allocate(context, &context->blocks, size_bytes, "of scratch");
}

void *castoff_context_host_block(castoff_run_context *context, size_t size_bytes) {
  return allocate(context, &context->host_blocks, size_bytes, "of host memory for copies");
}

castoff_status castoff_grow_arena(castoff_run_context *context) {
  const castoff_program *program = context->program;
  castoff_device *device = context->instance->device;
  const size_t wanted = program->arena_bytes ? program->arena_bytes(context->symbols) : 0;
  if (wanted <= context->arena_size_bytes) return CASTOFF_OK;
  castoff_device_free(device, context->arena);
  castoff_device_note_arena(device, context->arena_size_bytes, wanted);
  context->arena = wanted <= (size_t)PTRDIFF_MAX ? castoff_device_allocate(device, wanted) : NULL;
  context->arena_size_bytes = context->arena ? wanted : 0;
  context->memory_version++;
  if (context->arena) return CASTOFF_OK;
  castoff_device_no_memory(device, wanted, "for an arena");
  castoff_device_note_arena(device, wanted, 0);
  return CASTOFF_OUT_OF_MEMORY;
}

void *castoff_frame_scratch(castoff_frame *frame, size_t size_bytes) {
  return castoff_context_block(frame->context, size_bytes);
}

void *castoff_frame_host_scratch(castoff_frame *frame, size_t size_bytes) {
  return castoff_context_host_block(frame->context, size_bytes);
}
