/* Runs an artefact through castoff.h alone, from many threads on one handle.
 *
 *     driver ARTEFACT THREADS REPEATS INPUTS > OUTPUTS
 *
 * INPUTS holds, for each input in order, its rank and sizes as int64, then its elements. The elements of all outputs of
 * a first call go to standard output. Then THREADS threads make REPEATS calls each, and every answer must have the bytes
 * of the first. Exit status: 0; 1 answers differ; 2 bad use; 3 refused, with the sentence on standard error.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "castoff.h"

enum { MOST_TENSORS = 16, MOST_DIMENSIONS = 16, REFUSED = 3 };

typedef const castoff_api *(*get_api_function)(uint32_t abi_version);

typedef struct {
  int32_t count;
  DLTensor tensors[MOST_TENSORS];
  DLTensor *pointers[MOST_TENSORS];
  int64_t sizes[MOST_TENSORS][MOST_DIMENSIONS];
} tensor_list;

static const castoff_api *api;
static castoff_instance *instance;
static tensor_list inputs, first;
static int repeats;

static size_t size_bytes(const DLTensor *tensor) {
  size_t bytes = tensor->dtype.bits / 8;
  for (int32_t axis = 0; axis < tensor->ndim; axis++) bytes *= (size_t)tensor->shape[axis];
  return bytes;
}

static void prepare(tensor_list *list, int32_t count, const castoff_tensor_spec *(*spec)(int32_t)) {
  memset(list, 0, sizeof *list);
  list->count = count;
  for (int32_t i = 0; i < count; i++) {
    DLTensor *tensor = &list->tensors[i];
    tensor->device.device_type = 1;
    tensor->ndim = spec(i)->rank;
    tensor->dtype = spec(i)->dtype;
    tensor->shape = list->sizes[i];
    list->pointers[i] = tensor;
  }
}

static int read_inputs(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) return 0;
  for (int32_t i = 0; i < inputs.count; i++) {
    DLTensor *tensor = &inputs.tensors[i];
    int64_t rank = -1;
    if (fread(&rank, sizeof rank, 1, file) != 1 || rank != tensor->ndim || rank > MOST_DIMENSIONS) return 0;
    if (fread(tensor->shape, sizeof(int64_t), (size_t)rank, file) != (size_t)rank) return 0;
    const size_t bytes = size_bytes(tensor);
    tensor->data = malloc(bytes ? bytes : 1);
    if (fread(tensor->data, 1, bytes, file) != bytes) return 0;
  }
  return fclose(file) == 0;
}

static int run(tensor_list *outputs) {
  prepare(outputs, api->output_count(), api->output);
  castoff_call call = {0};
  call.n_inputs = inputs.count;
  call.n_outputs = outputs->count;
  call.inputs = inputs.pointers;
  call.outputs = outputs->pointers;
  if (api->run(instance, &call) == CASTOFF_OK) return 1;
  fprintf(stderr, "%s\n", api->last_error());
  return 0;
}

static void release(tensor_list *outputs) {
  for (int32_t i = 0; i < outputs->count; i++) api->release(outputs->tensors[i].data);
}

static void *work(void *result) {
  for (int round = 0; round < repeats; round++) {
    tensor_list outputs;
    if (!run(&outputs)) return result;
    for (int32_t i = 0; i < outputs.count; i++) {
      const DLTensor *got = &outputs.tensors[i], *want = &first.tensors[i];
      if (memcmp(got->shape, want->shape, (size_t)got->ndim * sizeof(int64_t)) != 0) return result;
      if (memcmp(got->data, want->data, size_bytes(got)) != 0) return result;
    }
    release(&outputs);
  }
  *(int *)result = 1;
  return result;
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  const int threads = atoi(argv[2]);
  repeats = atoi(argv[3]);
  void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return REFUSED;
  }
  get_api_function get_api;
  *(void **)&get_api = dlsym(library, "castoff_get_api");
  api = get_api ? get_api(CASTOFF_ABI_VERSION) : NULL;
  if (!api) return REFUSED;
  if (api->create(NULL, &instance) != CASTOFF_OK) {
    fprintf(stderr, "%s\n", api->last_error());
    return REFUSED;
  }
  fprintf(stderr, "level %s\n", api->cpu_level(instance));
  prepare(&inputs, api->input_count(), api->input);
  if (!read_inputs(argv[4])) return 2;
  if (!run(&first)) return REFUSED;
  for (int32_t i = 0; i < first.count; i++) {
    const size_t bytes = size_bytes(&first.tensors[i]);
    if (fwrite(first.tensors[i].data, 1, bytes, stdout) != bytes) return 2;
  }

  pthread_t *handles = calloc((size_t)threads + 1, sizeof *handles);
  int *results = calloc((size_t)threads + 1, sizeof *results);
  for (int t = 0; t < threads; t++) pthread_create(&handles[t], NULL, work, &results[t]);
  int is_good = 1;
  for (int t = 0; t < threads; t++) {
    pthread_join(handles[t], NULL);
    is_good &= results[t];
  }
  free(handles);
  free(results);
  release(&first);
  for (int32_t i = 0; i < inputs.count; i++) free(inputs.tensors[i].data);
  api->destroy(instance);
  return is_good ? 0 : 1;
}
