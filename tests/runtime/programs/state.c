/* Everything else a program may do, for data of int64[2*half] and a number k:
 *
 *   counter += 1; data += k                     a buffer, and a mutated input
 *   results: counter, data > 0 of data, half    a copy of the buffer, a data-dependent shape, a number
 *
 * Refuses k = 13 by an assertion, and k < 0 by a guard.
 */
#include <stdio.h>

#include "castoff_program.h"

static int resolve(const castoff_input_view *inputs, int64_t *symbols, char *error, size_t error_size) {
  symbols[0] = inputs[0].shape[0] / 2;
  symbols[1] = *(const int64_t *)inputs[1].data;
  if (inputs[0].shape[0] % 2 != 0) {
    snprintf(error, error_size, "args[0]: expected int64[2*half], got int64[%lld]", (long long)inputs[0].shape[0]);
    return CASTOFF_INPUT_MISMATCH;
  }
  if (symbols[1] < 0) {
    snprintf(error, error_size, "kwargs['k']: expected k >= 0, got %lld", (long long)symbols[1]);
    return CASTOFF_INPUT_MISMATCH;
  }
  return CASTOFF_OK;
}

static int run(castoff_frame *frame) {
  int64_t *data = frame->inputs[0];
  const int64_t size = 2 * frame->symbols[0], k = frame->symbols[1];
  if (k == 13) return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "assertion failed: k != %d", 13);
  int64_t *counter = frame->buffers[0];
  *counter += 1;
  *(int64_t *)frame->outputs[0] = *counter;
  int64_t *positive = castoff_frame_scratch(frame, (size_t)size * 8), n_positive = 0;
  if (!positive) return CASTOFF_OUT_OF_MEMORY;
  for (int64_t i = 0; i < size; i++) {
    data[i] += k;
    if (data[i] > 0) positive[n_positive++] = data[i];
  }
  int64_t *found = castoff_frame_allocate_output(frame, 1, 1, &n_positive);
  if (!found) return CASTOFF_OUT_OF_MEMORY;
  for (int64_t i = 0; i < n_positive; i++) found[i] = positive[i];
  *(int64_t *)frame->outputs[2] = frame->symbols[0];
  return CASTOFF_OK;
}

static const castoff_dim data_dims[] = {{-1, -1, 0, 0, INT64_MAX, "2*half"}};
static const castoff_dim found_dims[] = {{-1, -1, 0, 0, INT64_MAX, "u0"}};
static const castoff_tensor_spec inputs[] = {{"data", "args[0]", {0, 64, 1}, 1, data_dims, CASTOFF_MUTATED, 0},
                                             {"k", "kwargs['k']", {0, 64, 1}, 0, NULL, CASTOFF_SCALAR, 0}};
static const castoff_tensor_spec outputs[] = {
    {"counter", "result['counter']", {0, 64, 1}, 0, NULL, 0, 0},
    {"found", "result['found']", {0, 64, 1}, 1, found_dims, CASTOFF_DATA_DEPENDENT, 0},
    {"half", "result['half']", {0, 64, 1}, 0, NULL, CASTOFF_SCALAR, 0}};

static void output_shape(const int64_t *symbols, int output, int64_t *shape) {
  (void)symbols;
  if (output == 1) shape[0] = -1;
}

static const castoff_constant_spec constants[] = {{"counter", {0, 64, 1}, 0, NULL, 0, 8, 0, 0}};
static const castoff_buffer_spec buffers[] = {{"counter", {0, 64, 1}, 0, NULL, 8, 0, 0}};

const castoff_program castoff_program_definition = {
    .abi_version = CASTOFF_ABI_VERSION,
    .name = "state",
    .n_inputs = 2,
    .inputs = inputs,
    .n_outputs = 3,
    .outputs = outputs,
    .n_constants = 1,
    .constants = constants,
    .n_buffers = 1,
    .buffers = buffers,
    .n_symbols = 2,
    .weights_size_bytes = 8,
    .resolve = resolve,
    .output_shape = output_shape,
    .run = {run},
};
