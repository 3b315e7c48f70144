"""The real encoder that ships in a package, and LLaMA, GPT-2 and Mamba configurations made here.

HF_HUB_OFFLINE=1 python -m pytest -m llm tests
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluators.accuracy.fidelity_metrics import embeddings, perplexity
from evaluators.accuracy.model_folder import ModelFolder, default_model_folder
from evaluators.accuracy.model_statistics import (
    Calibration,
    activation_norms,
    collect_statistics,
    load_statistics,
    save_statistics,
)
from evaluators.accuracy.nm_fidelity import NMFidelity
from evaluators.accuracy.outliers import saliency
from evaluators.accuracy.pruned_model import load_mask, masked, save_pruned, sparsegpt_weights
from evaluators.accuracy.pruning import nm_mask
from evaluators.accuracy.reference_text import file_text, python_reference_text
from evaluators.accuracy.streamed_model import StreamedModel
from spaces.sparsity.nm_sparsity import DENSE_PATTERN, NMPattern, candidate_patterns
from strategies.nm.method_study import SelectedFidelity
from strategies.nm.selection import SelectionTask, select

pytestmark = pytest.mark.llm

TWO_FOUR = NMPattern(2, 4)


def llama() -> Any:
    import transformers

    return transformers.LlamaConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=30522,
        tie_word_embeddings=True,
    )


def gpt2() -> Any:
    """Its linear layers are stored as (inputs, outputs)."""
    import transformers

    ends = {"bos_token_id": 101, "eos_token_id": 102}
    return transformers.GPT2Config(n_embd=64, n_layer=3, n_head=4, vocab_size=30522, **ends)


def mamba() -> Any:
    import transformers

    return transformers.MambaConfig(hidden_size=64, num_hidden_layers=3, vocab_size=30522)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Threads that wait for one another are slow when the tests share their cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def encoder() -> StreamedModel:
    return StreamedModel(ModelFolder(default_model_folder()))


@pytest.fixture(scope="module", params=[llama, gpt2, mamba], ids=["llama", "gpt2", "mamba"])
def decoder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Path]:
    """A random-weight model and its folder, with the encoder's tokenizer."""
    import torch
    import transformers

    make: Callable[[], Any] = request.param
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(make()).eval()
    folder = tmp_path_factory.mktemp("decoder") / "model"
    model.save_pretrained(folder)
    for path in default_model_folder().glob("*token*"):
        shutil.copy(path, folder / path.name)
    return model, folder


def tokens(rows: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1000, 20000, (rows, length))


def test_streaming_equals_the_whole_encoder(encoder: StreamedModel) -> None:
    import torch
    import transformers

    batch = tokens(2, 16)
    whole = transformers.AutoModel.from_pretrained(default_model_folder()).eval()
    with torch.inference_mode():
        expected = whole(input_ids=torch.from_numpy(batch)).last_hidden_state.numpy()
    np.testing.assert_allclose(encoder.run(batch), expected, atol=1e-5)
    assert len(encoder.linears) == 36


def test_streaming_equals_the_whole_decoder_with_one_block_in_memory(
    decoder: tuple[Any, Path],
) -> None:
    import torch

    model, folder = decoder
    streamed = StreamedModel(ModelFolder(folder))
    batch = tokens(2, 16)
    with torch.inference_mode():
        expected = model(input_ids=torch.from_numpy(batch)).logits.numpy()
    np.testing.assert_allclose(streamed.run(batch), expected, atol=1e-4)
    per_block = [sum(p.numel() for p in block.parameters()) for block in streamed.blocks.values()]
    total = sum(p.numel() for p in model.parameters())
    assert streamed.peak_resident == total - sum(per_block) + max(per_block)
    assert all(p.device.type == "meta" for b in streamed.blocks.values() for p in b.parameters())


def test_activation_norms_equal_a_direct_computation(encoder: StreamedModel) -> None:
    batch = tokens(40, 8)
    seen: dict[str, list[np.ndarray]] = {}
    encoder.run(batch, observe=lambda name, x: seen.setdefault(name, []).append(x.numpy().copy()))
    norms = activation_norms(encoder, batch)
    for name in ("encoder.layer.0.attention.self.query", "encoder.layer.5.output.dense"):
        inputs = np.concatenate(seen[name]).astype(np.float64)
        expected = np.sqrt((inputs**2).sum(axis=0) / len(batch))
        np.testing.assert_allclose(norms[name], expected, rtol=1e-4)


def test_statistics_survive_their_file_and_match_the_masks(
    encoder: StreamedModel, tmp_path: Path
) -> None:
    calibration = Calibration(sequences=4, length=8, patterns=candidate_patterns((2, 4)))
    found = collect_statistics(encoder, tokens(8, 8), calibration)
    path = tmp_path / "deep" / "statistics.npz"
    save_statistics(found, path)
    again = load_statistics(path)
    assert path.stat().st_size < 200_000
    assert [p.name for p in path.parent.iterdir()] == ["statistics.npz"]
    assert again.key == found.key
    layer = "encoder.layer.3.attention.self.key"
    index = again.statistics.layers.index(layer)
    scores = saliency(encoder.weights(layer), again.norms[layer])
    mask = nm_mask(scores, TWO_FOUR)
    column = again.statistics.patterns.index(TWO_FOUR)
    fraction = again.statistics.retained_fraction("saliency")[index, column]
    assert fraction == pytest.approx(float(scores[mask].sum() / scores.sum()), rel=1e-4)
    assert again.statistics.presence[index] == pytest.approx(
        found.statistics.outliers[index] / scores.size
    )
    np.testing.assert_array_equal(
        again.statistics.retained_outliers, found.statistics.retained_outliers
    )
    np.testing.assert_array_equal(again.statistics.presence_above(5.0), found.statistics.presence)
    assert (np.diff(again.statistics.exceeding, axis=1) <= 0).all()


def test_mamba_leaves_what_it_does_not_call_dense(tmp_path: Path) -> None:
    import transformers

    folder = tmp_path / "mamba"
    transformers.AutoModelForCausalLM.from_config(mamba()).save_pretrained(folder)
    norms = activation_norms(StreamedModel(ModelFolder(folder)), tokens(2, 8))
    projections = {name.rpartition(".")[2] for name in norms}
    assert projections == {"in_proj", "x_proj", "out_proj"}


def test_fidelity_falls_with_sparsity_and_is_deterministic(tmp_path: Path) -> None:
    fidelity = NMFidelity(
        calibration=Calibration(sequences=16, length=32),
        held_out_texts=40,
        cache=str(tmp_path),
    )
    statistics = fidelity.statistics(0)
    rows = {}
    for text in ("1:1", "8:16", "2:4", "1:4"):
        assignment = dict.fromkeys(statistics.layers, NMPattern.parse(text))
        rows[text] = fidelity.measure(assignment, 0)
    assert rows["1:1"]["embedding_similarity"] == pytest.approx(1.0)
    assert rows["1:1"]["neighbour_agreement"] == 1.0
    similarity = [row["embedding_similarity"] for row in rows.values()]
    assert similarity == sorted(similarity, reverse=True)
    assert similarity[1] > 0.6 > similarity[3]
    again = fidelity.measure(dict.fromkeys(statistics.layers, TWO_FOUR), 0)
    assert again == rows["2:4"]
    assert len(list(tmp_path.glob("nm_statistics_*.npz"))) == 1


def test_selection_beats_uniform_at_equal_sparsity(tmp_path: Path) -> None:
    fidelity = NMFidelity(
        calibration=Calibration(sequences=32, length=64), held_out_texts=60, cache=str(tmp_path)
    )
    statistics = fidelity.statistics(0)
    similarity = {}
    for method in ("retained_saliency", "uniform"):
        found = select(method, SelectionTask(statistics, 0.7, tolerance=0.002))
        assert found.certified
        similarity[method] = fidelity.measure(found.assignment, 0)["embedding_similarity"]
    assert similarity["retained_saliency"] > similarity["uniform"] + 0.01


def test_masks_by_weights_alone_and_with_shared_pairs_are_worse(tmp_path: Path) -> None:
    base = NMFidelity(
        calibration=Calibration(sequences=16, length=32), held_out_texts=40, cache=str(tmp_path)
    )
    pattern = dict.fromkeys(base.statistics(0).layers, TWO_FOUR)
    wanda = base.measure(pattern, 0)["embedding_similarity"]
    for rule in ("magnitude", "shared_pairs"):
        other = replace(base, mask_rule=rule).measure(pattern, 0)["embedding_similarity"]
        assert other < wanda, rule


def test_pruned_folder_loads_and_equals_the_streamed_edit(
    encoder: StreamedModel, tmp_path: Path
) -> None:
    import torch
    import transformers

    fidelity = NMFidelity(
        calibration=Calibration(sequences=4, length=16), cache=str(tmp_path / "c")
    )
    layers = fidelity.measured(0).statistics.layers
    patterns = dict.fromkeys(layers, TWO_FOUR)
    folder = tmp_path / "pruned"
    rule = masked(lambda name, weights, p: fidelity.mask(name, weights, p, 0))
    save_pruned(encoder, patterns, rule, folder)
    batch = tokens(2, 16)
    edited = encoder.run(
        batch,
        lambda name, w: w * fidelity.mask(name, w, TWO_FOUR, 0) if name in patterns else w,
    )
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        loaded = model(input_ids=torch.from_numpy(batch)).last_hidden_state.numpy()
    np.testing.assert_allclose(loaded, edited, atol=1e-5)
    name = layers[0]
    weight = StreamedModel(ModelFolder(folder)).weights(name)
    np.testing.assert_array_equal(weight != 0, load_mask(folder, name, weight.shape))
    record = json.loads((folder / "nm_pruning.json").read_text())
    assert record["patterns"][name] == "2:4"
    with pytest.raises(ValueError, match="exists already"):
        save_pruned(encoder, patterns, rule, folder)


def test_weights_stored_transposed_are_pruned_along_their_inputs(tmp_path: Path) -> None:
    import torch
    import transformers

    transformers.AutoModelForCausalLM.from_config(gpt2()).save_pretrained(tmp_path / "model")
    dense = StreamedModel(ModelFolder(tmp_path / "model"))
    name = "transformer.h.1.attn.c_attn"
    assert dense.shape(name) == dense.weights(name).shape == (192, 64)
    rule = masked(lambda _name, weights, pattern: nm_mask(np.abs(weights), pattern))
    save_pruned(dense, {name: TWO_FOUR}, rule, tmp_path / "pruned")
    kept = StreamedModel(ModelFolder(tmp_path / "pruned")).weights(name)
    assert ((kept != 0).reshape(192, 16, 4).sum(axis=2) == 2).all()
    np.testing.assert_array_equal(kept != 0, load_mask(tmp_path / "pruned", name, (192, 64)))
    batch = tokens(1, 8)
    edited = dense.run(batch, lambda n, w: w * nm_mask(np.abs(w), TWO_FOUR) if n == name else w)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "pruned").eval()
    with torch.inference_mode():
        loaded = model(input_ids=torch.from_numpy(batch)).logits.numpy()
    np.testing.assert_allclose(edited, loaded, atol=1e-4)


def test_a_failed_write_leaves_nothing(encoder: StreamedModel, tmp_path: Path) -> None:
    layer = next(iter(encoder.linears))
    with pytest.raises(ValueError, match=r"input size 384 is not divisible by M = 5 of 2:5"):
        save_pruned(encoder, {layer: NMPattern(2, 5)}, masked(_fails), tmp_path / "out")
    with pytest.raises(OSError, match="disk full"):
        save_pruned(encoder, {layer: TWO_FOUR}, masked(_fails), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def _fails(name: str, weights: np.ndarray, pattern: NMPattern) -> np.ndarray:
    raise OSError("disk full")


def test_sparsegpt_improves_on_wanda(encoder: StreamedModel, tmp_path: Path) -> None:
    """One block at 2:4: updated weights keep the embeddings closer to the dense ones."""
    text = python_reference_text()
    calibration = encoder.folder.token_windows(text.calibration, 64)[::16]
    held_out = encoder.folder.token_windows(text.held_out, 64)[::20]
    chosen = [name for name in encoder.linears if ".layer.5." in name and "attention.self" in name]
    updated = sparsegpt_weights(encoder, calibration, dict.fromkeys(chosen, TWO_FOUR))
    assert set(updated) == set(chosen)
    norms = activation_norms(encoder, calibration)
    dense = embeddings(encoder, held_out)

    def loss(edit: Callable[[str, np.ndarray], np.ndarray]) -> float:
        return float(1 - (embeddings(encoder, held_out, edit) * dense).sum(axis=1).mean())

    wanda = loss(lambda n, w: w * nm_mask(saliency(w, norms[n]), TWO_FOUR) if n in chosen else w)
    assert loss(lambda n, w: updated[n][0] if n in chosen else w) < wanda


def test_a_saved_model_measures_as_the_streamed_one(tmp_path: Path) -> None:
    """Masks alone give the same figures; SparseGPT's folder holds the pattern it was given."""
    fidelity = NMFidelity(
        calibration=Calibration(sequences=8, length=16),
        held_out_texts=12,
        cache=str(tmp_path / "c"),
    )
    layers = fidelity.statistics(0).layers
    sparse = layers[-2:]
    assignment = {name: TWO_FOUR if name in sparse else NMPattern(1, 1) for name in layers}
    fidelity.save(assignment, 0, tmp_path / "masked")
    measured = fidelity.measure(assignment, 0)
    assert fidelity.measure_folder(tmp_path / "masked") == pytest.approx(measured, abs=1e-5)
    fidelity.save_updated(assignment, 0, tmp_path / "updated")
    updated = StreamedModel(ModelFolder(tmp_path / "updated"))
    for name in sparse:
        weights = updated.weights(name)
        assert ((weights != 0).reshape(len(weights), -1, 4).sum(axis=2) <= 2).all()
        assert not np.isin(weights[weights != 0][:50], fidelity.streamed.weights(name)).all()


def test_perplexity_of_a_decoder_folder(decoder: tuple[Any, Path], tmp_path: Path) -> None:
    """A random model is as good as guessing; the command needs only the folder and a text."""
    import torch

    model, folder = decoder
    text = tmp_path / "text.txt"
    text.write_text(" ".join(python_reference_text().calibration)[:60_000])
    fidelity = NMFidelity(
        model=str(folder),
        text=str(text),
        granularity="block",
        calibration=Calibration(sequences=8, length=32),
        held_out_texts=6,
        calibration_texts=5,
        cache=str(tmp_path / "cache"),
    )
    found = select("retained_saliency", SelectionTask(fidelity.statistics(1), 0.5, tolerance=0.05))
    measured = fidelity.measure(found.assignment, 1)
    assert set(measured) == {"perplexity", "fidelity_loss"}
    batch = torch.from_numpy(fidelity.meter.windows)
    with torch.inference_mode():
        logits = model(input_ids=batch).logits[:, :-1]
    nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    dense = perplexity(fidelity.streamed, fidelity.meter.windows)
    assert dense == pytest.approx(float(torch.exp(nll)), rel=1e-4)
    assert measured["fidelity_loss"] == pytest.approx(np.log(measured["perplexity"] / dense))
    assert fidelity.calibration_loss(dict.fromkeys(found.layers, DENSE_PATTERN), 1) == 0.0
    columns = {"method": ["owl_tuned"], "target_sparsity": [0.5], "calibration_seed": [1]}
    tuned = SelectedFidelity(fidelity, 0.05).evaluate({k: np.array(v) for k, v in columns.items()})
    assert not tuned.failures
    assert tuned.metrics["owl_threshold"][0] in fidelity.calibration.thresholds
    assert np.isfinite(tuned.metrics["perplexity"]).all()


def test_malformed_folders_and_texts(encoder: StreamedModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        ModelFolder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no \*\.safetensors weights; convert"):
        ModelFolder(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        file_text(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("  \n")
    with pytest.raises(ValueError, match="is empty"):
        file_text(tmp_path / "empty.txt")
    with pytest.raises(ValueError, match="no window of 64 tokens in 11 characters"):
        encoder.folder.token_windows(["hello world"], 64)
    with pytest.raises(ValueError, match="5 windows of 64 tokens for 64 calibration sequences"):
        Calibration().draw(np.zeros((5, 64), dtype=np.int64))
    with pytest.raises(ValueError, match=r"held-out text too short: .* tokens, 100000 are needed"):
        NMFidelity(held_out_texts=100_000).meter.reference.sum()
    with pytest.raises(ValueError, match="mask_rule must be one of wanda"):
        NMFidelity(mask_rule="random")


def test_a_folder_that_lacks_a_tensor_is_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    source = default_model_folder()
    shutil.copy(source / "config.json", tmp_path / "config.json")
    tensors = load_file(str(source / "model.safetensors"))
    missing = "embeddings.LayerNorm.weight"
    save_file(
        {k: v for k, v in tensors.items() if k != missing}, str(tmp_path / "model.safetensors")
    )
    with pytest.raises(ValueError, match=r"tensor 'embeddings\.LayerNorm\.weight' is missing"):
        StreamedModel(ModelFolder(tmp_path)).run(tokens(1, 4))
