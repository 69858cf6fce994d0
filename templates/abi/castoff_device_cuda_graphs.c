/* castoff_device_cuda_graphs.c: what a run launches, recorded as a CUDA graph and replayed.
 *
 * A graph holds addresses and sizes; it fits a run whose key is equal. The first run with a key is an ordinary one: it
 * allocates what it needs, and callers that never come back with the same addresses pay for no recording. The second is
 * recorded. Programs that wait for values cannot be recorded and stay ordinary.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "castoff_device_cuda.h"

static size_t key_size(const castoff_program *program) {
  return sizeof(uint64_t) * (size_t)(program->n_symbols + program->n_inputs + program->n_outputs + 3);
}

static void write_key(castoff_device_run *run, const castoff_frame *frame) {
  const castoff_program *program = run->context->program;
  uint64_t *key = (uint64_t *)(void *)run->key;
  for (int i = 0; i < program->n_symbols; i++) *key++ = (uint64_t)frame->symbols[i];
  for (int i = 0; i < program->n_inputs; i++) *key++ = (uint64_t)(uintptr_t)frame->inputs[i];
  for (int i = 0; i < program->n_outputs; i++) *key++ = (uint64_t)(uintptr_t)frame->outputs[i];
  *key++ = run->context->memory_version;
  *key++ = (uint64_t)(uintptr_t)frame->arena;
  *key++ = atomic_load(&run->context->constants)->number;
}

static void forget(castoff_graph *graph) {
  if (graph->executable) cudaGraphExecDestroy(graph->executable);
  free(graph->key);
  memset(graph, 0, sizeof(*graph));
}

void castoff_graph_free_all(castoff_device_run *run) {
  for (int i = 0; i < CASTOFF_MOST_GRAPHS; i++) forget(&run->graphs[i]);
  if (run->recording_stream) cudaStreamDestroy(run->recording_stream);
  free(run->key);
  run->key = NULL;
}

static castoff_graph *find(castoff_device_run *run, size_t size) {
  for (int i = 0; i < CASTOFF_MOST_GRAPHS; i++)
    if (run->graphs[i].key && memcmp(run->graphs[i].key, run->key, size) == 0) return &run->graphs[i];
  return NULL;
}

/* An entry for the key, in the place of the one used longest ago. */
static castoff_graph *add(castoff_device_run *run, size_t size) {
  castoff_graph *oldest = &run->graphs[0];
  for (int i = 1; i < CASTOFF_MOST_GRAPHS; i++)
    if (run->graphs[i].last_used < oldest->last_used) oldest = &run->graphs[i];
  forget(oldest);
  oldest->key = malloc(size);
  if (oldest->key) memcpy(oldest->key, run->key, size);
  return oldest;
}

/* Records what the function launches; the entry is refused where that cannot be. */
static void record(castoff_device_run *run, castoff_graph *graph, castoff_frame *frame,
                   int (*function)(castoff_frame *frame)) {
  cudaGraph_t recorded = NULL;
  const int kept = run->context->block_uses;
  graph->is_refused = 1;
  /* While a stream that waits for the legacy one is recorded, nobody may use that: torch, in another thread, does. */
  if ((!run->recording_stream &&
       cudaStreamCreateWithFlags(&run->recording_stream, cudaStreamNonBlocking) != cudaSuccess) ||
      cudaStreamBeginCapture(run->recording_stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) {
    cudaGetLastError();
    return;
  }
  frame->stream = run->recording_stream;
  const int status = function(frame);
  const cudaError_t ended = cudaStreamEndCapture(run->recording_stream, &recorded);
  frame->stream = run->stream;
  if (status == CASTOFF_OK && ended == cudaSuccess &&
      cudaGraphInstantiate(&graph->executable, recorded, 0) == cudaSuccess)
    graph->is_refused = 0;
  if (recorded) cudaGraphDestroy(recorded);
  cudaGetLastError();
  if (graph->is_refused) castoff_context_drop_blocks(run->context, kept); /* the run takes them again */
}

castoff_status castoff_graph_launch(castoff_device_run *run, castoff_frame *frame,
                                    int (*function)(castoff_frame *frame)) {
  const size_t size = key_size(run->context->program);
  if (!run->key) run->key = malloc(size);
  if (!run->key) return (castoff_status)function(frame);
  write_key(run, frame);
  castoff_graph *graph = find(run, size);
  if (!graph) {
    const castoff_status status = (castoff_status)function(frame);
    if (status != CASTOFF_OK) return status;
    write_key(run, frame); /* what the run allocated is there the next time */
    add(run, size)->last_used = ++run->uses;
    return status;
  }
  graph->last_used = ++run->uses;
  if (!graph->executable && !graph->is_refused) record(run, graph, frame, function);
  if (!graph->executable) return (castoff_status)function(frame);
  return castoff_cuda_check(run->device, cudaGraphLaunch(graph->executable, run->stream), "launch of a recorded run");
}
