#include "runtime/src/api/Handles.h"
#include "runtime/src/base/DType.h"
#include "runtime/src/engine/Programs.h"

#include <saddle/engine.h>

using namespace saddle;
using namespace saddle::api;

saddle_engine_t::saddle_engine_t(std::shared_ptr<const Engine> loaded)
    : engine(std::move(loaded)), outputs(backend::outputsOf(engine->root())) {}

static saddle_status_t hand(StatusOr<std::unique_ptr<Engine>> loaded,
                            saddle_engine_t **engine) {
  if (loaded.ok())
    *engine = new saddle_engine_t(std::move(*loaded));
  return toC(loaded.status());
}

saddle_status_t saddle_engine_load(const char *path, saddle_engine_t **engine) {
  return answer([&] {
    if (!path || !engine)
      return nullArgument(path ? "engine" : "path");
    *engine = nullptr;
    return hand(Engine::load(path), engine);
  });
}

saddle_status_t saddle_engine_load_memory(const void *bytes, size_t size,
                                          const char *name,
                                          saddle_engine_t **engine) {
  return answer([&] {
    if (!bytes || !name || !engine)
      return nullArgument(!bytes ? "bytes" : !name ? "name" : "engine");
    *engine = nullptr;
    return hand(Engine::fromBytes(bytes, size, name), engine);
  });
}

void saddle_engine_destroy(saddle_engine_t *engine) { delete engine; }

void saddle_engine_info(const saddle_engine_t *engine,
                        saddle_engine_info_t *info) {
  if (!info)
    return;
  *info = {};
  if (!engine)
    return;
  const schema::Engine &root = engine->engine->root();
  const schema::Model &model = *root.model();
  const schema::Limits &limits = *root.limits();
  const schema::Topology &topology = *root.topology();
  info->producer = root.producer()->c_str();
  info->target = root.target()->c_str();
  info->compute_dtype = dtypeName(root.compute_dtype());
  info->kv_dtype = dtypeName(root.kv_dtype());
  info->architecture = model.architecture()->c_str();
  info->model_name = model.name() ? model.name()->c_str() : "";
  info->vocab_size = model.vocab_size();
  info->num_layers = model.num_layers();
  info->hidden_size = model.hidden_size();
  info->max_batch = limits.max_batch();
  info->max_seq_len = limits.max_seq_len();
  info->prefill_chunk = limits.prefill_chunk();
  info->page_size = limits.page_size();
  info->max_sequences = topology.dp() * limits.max_batch();
  info->world_size = engine->engine->worldSize();
  info->tp = topology.tp();
  info->dp = topology.dp();
  info->ep = topology.ep();
  info->pp = topology.pp();
  if (const auto *eos = model.eos_token_ids()) {
    info->eos_token_ids = eos->data();
    info->num_eos_token_ids = eos->size();
  }
  info->bos_token_id = model.bos_token_id();
  info->candidates = backend::candidatesOf(root);
  info->spec_tokens = engine::specTokens(root);
}

size_t saddle_engine_num_outputs(const saddle_engine_t *engine) {
  return engine ? engine->outputs.size() : 0;
}

saddle_status_t saddle_engine_output(const saddle_engine_t *engine,
                                     size_t index, saddle_output_info_t *info) {
  return answer([&] {
    SADDLE_REQUIRE(info);
    *info = {};
    SADDLE_REQUIRE(engine);
    if (index >= engine->outputs.size())
      return toC(makeError(StatusCode::InvalidArgument,
                           "output %zu does not exist, the engine has %zu",
                           index, engine->outputs.size()));
    const backend::StepOutput &output = engine->outputs[index];
    *info = {output.binding->name, dtypeName(output.binding->dtype),
             output.width, output.rowBytes()};
    return toC(Status());
  });
}
