// Runs an artefact as C does whose arrays lie on the device: neg(x) of float[4], by run() and on a stream of its own.
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <stdio.h>

#include "castoff.h"

static DLTensor float_tensor(void *data, int64_t *shape) {
    DLTensor tensor = {};
    tensor.data = data;
    tensor.device = {2, 0};
    tensor.ndim = 1;
    tensor.dtype = {2, 32, 1};
    tensor.shape = shape;
    return tensor;
}

#define CHECK(is_good) \
    if (!(is_good)) return fprintf(stderr, "line %d: %s\n", __LINE__, api ? api->last_error() : "no artefact"), 1

int main(int, char **argv) {
    const castoff_api *api = NULL;
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(library);
    const castoff_api *(*get_api)(uint32_t) = NULL;
    *(void **)&get_api = dlsym(library, "castoff_get_api");
    api = get_api(CASTOFF_ABI_VERSION);
    CHECK(api);
    castoff_instance *instance = NULL;
    castoff_options options = {};
    options.size_bytes = sizeof options;
    CHECK(api->create(&options, &instance) == CASTOFF_OK);
    CHECK(api->device(instance).device_type == 2);

    int64_t shape[1] = {4}, made_shape[1] = {0};
    float host[4] = {1, 2, 3, 4}, got[4];
    void *x = NULL, *out = NULL;
    CHECK(cudaMalloc(&x, sizeof host) == cudaSuccess && cudaMalloc(&out, sizeof host) == cudaSuccess);
    CHECK(cudaMemcpy(x, host, sizeof host, cudaMemcpyHostToDevice) == cudaSuccess);
    DLTensor input = float_tensor(x, shape), output = float_tensor(out, shape), made = float_tensor(NULL, made_shape);
    DLTensor *inputs[1] = {&input}, *outputs[1] = {&output};
    castoff_call call = {};
    call.n_inputs = call.n_outputs = 1;
    call.inputs = inputs;
    call.outputs = outputs;
    CHECK(api->run(instance, &call) == CASTOFF_OK);
    CHECK(cudaMemcpy(got, out, sizeof got, cudaMemcpyDeviceToHost) == cudaSuccess);
    printf("%g %g %g %g\n", got[0], got[1], got[2], got[3]);

    /* What the first run left is the input of one on a stream, whose output the artefact allocates. */
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream) == cudaSuccess);
    input.data = out;
    outputs[0] = &made;
    CHECK(api->run_on_stream(instance, &call, stream) == CASTOFF_OK);
    CHECK(made.data && made.device.device_type == 2 && made_shape[0] == 4);
    CHECK(api->copy_to_host(instance, &made, got, stream) == CASTOFF_OK);
    printf("%g %g %g %g\n", got[0], got[1], got[2], got[3]);
    api->release_on_stream(made.data, stream);
    cudaStreamDestroy(stream);
    cudaFree(x);
    cudaFree(out);
    api->destroy(instance);
    return 0;
}
