/* A library with NVML's symbols, which returns values from a text file that a test writes.
 *
 * Each line of the file has the form "NAME VALUE". "driver 1" means that a driver is loaded, and
 * "count 2" means that there are two GPUs. The values of GPU 0 have names such as "0.power". If a
 * value is not in the file, the GPU does not support it. "0.lost 1" makes all calls for GPU 0 fail.
 */
#include <stdio.h>
#include <string.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9, LOST = 15 };

typedef unsigned long long u64;

static char state[4096];
static char gpus[16];

void fake_nvml_state(const char *path) { snprintf(state, sizeof state, "%s", path); }

static int find(const char *name, u64 *value) {
    char found[64];
    int result = 0;
    FILE *file = fopen(state, "r");
    if (!file) return 0;
    while (!result && fscanf(file, "%63s %llu", found, value) == 2) result = !strcmp(found, name);
    fclose(file);
    return result;
}

static int get(void *gpu, const char *name, u64 *value) {
    char whole[64];
    long index = (char *)gpu - gpus;
    u64 ignored;
    if (!find("driver", &ignored)) return UNINITIALIZED;
    snprintf(whole, sizeof whole, "%ld.lost", index);
    if (find(whole, &ignored)) return LOST;
    snprintf(whole, sizeof whole, "%ld.%s", index, name);
    return find(whole, value) ? SUCCESS : NOT_SUPPORTED;
}

static int get_uint(void *gpu, const char *name, unsigned *value) {
    u64 wide = 0;
    int code = get(gpu, name, &wide);
    if (code == SUCCESS) *value = (unsigned)wide;
    return code;
}

int nvmlInitWithFlags(unsigned flags) {
    u64 ignored;
    (void)flags;
    return find("driver", &ignored) ? SUCCESS : DRIVER_NOT_LOADED;
}

int nvmlShutdown(void) {
    u64 ignored;
    return find("driver", &ignored) ? SUCCESS : UNINITIALIZED;
}

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    u64 ignored;
    if (!find("driver", &ignored)) return UNINITIALIZED;
    snprintf(text, length, "999.01");
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    u64 wide = 0, ignored;
    if (!find("driver", &ignored)) return UNINITIALIZED;
    find("count", &wide);
    *count = (unsigned)wide;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **gpu) {
    *gpu = gpus + index;
    return SUCCESS;
}

static int name(void *gpu, const char *form, char *text, unsigned length) {
    u64 ignored;
    int code = get(gpu, "power", &ignored);
    if (code == UNINITIALIZED || code == LOST) return code;
    snprintf(text, length, form, (long)((char *)gpu - gpus));
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *gpu, char *text, unsigned length) {
    return name(gpu, "GPU-0000-%ld", text, length);
}

int nvmlDeviceGetName(void *gpu, char *text, unsigned length) {
    return name(gpu, "NVIDIA Test %ld", text, length);
}

int nvmlDeviceGetPowerUsage(void *gpu, unsigned *mw) { return get_uint(gpu, "power", mw); }

int nvmlDeviceGetTotalEnergyConsumption(void *gpu, u64 *mj) { return get(gpu, "energy", mj); }

int nvmlDeviceGetUtilizationRates(void *gpu, unsigned *both) {
    int code = get_uint(gpu, "sm", both);
    return code == SUCCESS ? get_uint(gpu, "memory", both + 1) : code;
}

int nvmlDeviceGetEncoderUtilization(void *gpu, unsigned *percent, unsigned *period_us) {
    *period_us = 167000;
    return get_uint(gpu, "encoder", percent);
}

int nvmlDeviceGetDecoderUtilization(void *gpu, unsigned *percent, unsigned *period_us) {
    *period_us = 167000;
    return get_uint(gpu, "decoder", percent);
}

int nvmlDeviceGetEncoderStats(void *gpu, unsigned *sessions, unsigned *fps, unsigned *latency_us) {
    int code = get_uint(gpu, "sessions", sessions);
    if (code == SUCCESS) code = get_uint(gpu, "fps", fps);
    return code == SUCCESS ? get_uint(gpu, "latency", latency_us) : code;
}

int nvmlDeviceGetClockInfo(void *gpu, unsigned domain, unsigned *mhz) {
    static const char *const names[] = {"graphics", "smclock", "memclock", "video"};
    return domain < 4 ? get_uint(gpu, names[domain], mhz) : NOT_SUPPORTED;
}

int nvmlDeviceGetMemoryInfo(void *gpu, u64 *total_free_used) {
    int code = get(gpu, "memtotal", total_free_used);
    if (code == SUCCESS) code = get(gpu, "memused", total_free_used + 2);
    if (code == SUCCESS) total_free_used[1] = total_free_used[0] - total_free_used[2];
    return code;
}

int nvmlDeviceGetTemperature(void *gpu, unsigned sensor, unsigned *celsius) {
    (void)sensor;
    return get_uint(gpu, "temperature", celsius);
}

int nvmlDeviceGetTotalEccErrors(void *gpu, unsigned type, unsigned counter, u64 *count) {
    (void)counter;
    return get(gpu, type ? "uncorrected" : "corrected", count);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *gpu, u64 *bits) {
    return get(gpu, "throttle", bits);
}
