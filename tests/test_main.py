"""The command `python -m skae`."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from estimators import CLASSES, PCA_CLASSES, PUBLIC
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import skae
from skae.__main__ import choose_counts, main
from skae._solvers import as_start
from skae._table import InputError, read_table

FAST = ["--max-iter", "2", "--no-plot"]


@pytest.fixture
def frame():
    """A curve in three columns, a class of it and a height along it."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.uniform(-1, 1, 60))
    X = np.column_stack([t, 100 * t**2, np.sin(3 * t)])
    table = pd.DataFrame(
        X + rng.normal(scale=0.01, size=X.shape), columns=["a", "b", "c"]
    )
    table["kind"] = np.array(["low", "middle", "high"])[np.arange(60) // 20]
    table["height"] = t
    return table.sample(frac=1, random_state=0)


@pytest.fixture
def save(tmp_path, monkeypatch):
    """Return a function that writes a frame to data.csv and returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(table, name="data.csv"):
        table.to_csv(name, index=False)
        return name

    return write


def results(out):
    """Return the rows of the printed table as lists of words."""
    lines = [line.split() for line in out.splitlines()]
    start = next(i for i, words in enumerate(lines) if words[1:2] == ["estimator"])
    stop = next(i for i, words in enumerate(lines) if words[:1] == ["Of"])
    return [words for words in lines[start:stop] if words]


# The models of each number of codes, in the order of their rows.
# Those of one view, in which nothing is missing, from random hidden layers.
OTHERS = ("Masked", "Contrastive", "EncoderDecoder", "DeepBelief", "RBM")
NAMES = [cls.__name__ for cls in PUBLIC]
MODELS = ["PCA", *(name for name in NAMES if not name.startswith(OTHERS))]


def test_the_models_are_those_of_the_table_that_are_public():
    public = {c.__name__ for c in CLASSES if c.__module__.split(".")[0] == "skae"}
    assert set(MODELS) == {"PCA", *public} - {"MaskedAutoencoder"}


def test_pca_and_every_estimator_stand_side_by_side(frame, save, capsys):
    assert main([save(frame[["a", "b", "c"]]), *FAST]) == 0
    captured = capsys.readouterr()
    head, *rows = results(captured.out)
    assert head == ["n_components", "estimator", "R2", "nats/row", "fit", "s"]
    n = len(MODELS)
    assert [row[0] for row in rows[::n]] == ["1", "2"]
    assert [row[1] for row in rows[::n]] == ["PCA", "PCA"]
    for first in (0, n):
        assert [row[0] for row in rows[first + 1 : first + n]] == MODELS[1:]
    assert "data.csv: 60 rows (15 held out), 3 columns" in captured.out
    assert "standardised" in captured.out
    verdict = captured.out.splitlines()[-1]
    assert verdict.startswith(("Yes, for ", "No, for "))
    assert "of the held-out variance with" in verdict
    second = f"[2/{2 * n}] fitting {MODELS[1]}, n_components=1"
    assert captured.err.splitlines()[1] == second
    assert len(captured.err.splitlines()) == 2 * n


def test_columns_of_the_table_line_up(frame, save, capsys):
    main([save(frame[["a", "b", "c"]]), *FAST])
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    start = next(i for i, line in enumerate(lines) if "estimator" in line)
    ends = {len(line) for line in lines[start : start + 5]}
    assert len(ends) == 1


def test_untrained_estimators_equal_pca_on_the_digits(save, capsys):
    assert main(["--max-iter", "0", "--no-plot"]) == 0
    out = capsys.readouterr().out
    _, *rows = results(out)
    n = len(MODELS)
    assert [row[0] for row in rows[::n]] == ["2", "8", "16"]
    for i, pca in zip(range(0, 3 * n, n), rows[::n], strict=True):
        for name, ours in zip(MODELS[1:], rows[i + 1 : i + n], strict=True):
            if getattr(skae, name) in PCA_CLASSES:
                assert pca[2:5] == ours[1:4]  # R2, log-likelihood, accuracy
            else:
                assert pca[2:4] != ours[1:3]
    assert "No, for 0 of 3 n_components" in out
    assert "standardised" not in out


def test_a_text_target_is_classified(frame, save, capsys):
    table = save(frame[["a", "b", "c", "kind"]])
    main([table, "--target", "kind", "--n-components", "2", *FAST])
    out = capsys.readouterr().out
    head, *rows = results(out)
    assert "accuracy" in head
    assert all(float(row[-2]) > 0.8 for row in rows)
    assert "logistic regression" in out


def test_few_whole_numbers_are_classes(frame, save, capsys):
    table = save(frame[["a", "b", "c"]].assign(y=(frame["a"] > 0).astype(int)))
    main([table, "--target", "y", "--n-components", "2", *FAST])
    assert "accuracy" in results(capsys.readouterr().out)[0]


def test_a_continuous_target_is_regressed_on(frame, save, capsys):
    table = save(frame[["a", "b", "c", "height"]])
    main([table, "--target", "height", "--n-components", "2", *FAST])
    out = capsys.readouterr().out
    head, *rows = results(out)
    assert "linear R2" in " ".join(head)
    assert all(float(row[-2]) > 0.8 for row in rows)
    assert "ridge regression" in out


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_output_holds_the_codes_of_all_rows_in_order(frame, save, capsys, suffix):
    path = f"codes.{suffix}"
    table = save(frame[["a", "b", "c"]])
    assert main([table, "--n-components", "2", "1", "--output", path, *FAST]) == 0
    assert path in capsys.readouterr().out
    codes = pd.read_csv(path) if suffix == "csv" else pd.read_parquet(path)
    X = StandardScaler().fit_transform(frame[["a", "b", "c"]].to_numpy())
    model = skae.AutoencoderTransformer(2, max_iter=2, random_state=0).fit(X)
    assert list(codes.columns) == list(model.get_feature_names_out())
    np.testing.assert_allclose(codes, model.transform(X), rtol=1e-9, atol=1e-9)


def test_unscaled_columns_keep_their_units(frame, save):
    table = save(frame[["a", "b", "c"]])
    options = ["--max-iter", "0", "--no-plot", "--no-scale", "--n-components", "1"]
    main([table, "--output", "codes.csv", *options])
    X = frame[["a", "b", "c"]].to_numpy()
    codes = PCA(1).fit_transform(X)
    np.testing.assert_allclose(pd.read_csv("codes.csv"), codes, rtol=1e-6)


@pytest.mark.parametrize(
    ("target", "counts"),
    [("kind", "2"), ("height", "2"), (None, "1")],
)
def test_a_picture_is_saved(frame, save, tmp_path, capsys, target, counts):
    columns = ["a", "b", "c", target] if target else ["a", "b", "c"]
    options = ["--target", target] if target else []
    path = str(tmp_path / "picture.png")
    options += ["--max-iter", "0", "--n-components", counts, "--plot", path]
    assert main([save(frame[columns]), *options]) == 0
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert f"Picture: {path}" in capsys.readouterr().out


def test_the_picture_of_the_digits_is_skae_png(save, tmp_path):
    assert main(["--max-iter", "0", "--n-components", "2"]) == 0
    assert (tmp_path / "skae.png").stat().st_size > 10_000


def test_more_than_ten_classes_share_a_colour_scale(frame, save, tmp_path):
    table = save(frame[["a", "b", "c"]].assign(y=np.arange(60) % 12))
    assert main([table, "--target", "y", "--max-iter", "0"]) == 0
    assert (tmp_path / "skae.png").exists()


def test_dollars_in_names_are_no_mathematics(frame, save, tmp_path):
    kinds = frame["kind"].replace({"low": r"$\low$"})
    table = save(frame[["a", "b", "c"]].assign(**{r"$\x$": kinds}), "$$.csv")
    assert main([table, "--target", r"$\x$", "--max-iter", "0"]) == 0
    assert (tmp_path / "skae.png").exists()


def test_without_matplotlib_a_line_names_the_extra(frame, save, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main([save(frame[["a", "b", "c"]]), "--max-iter", "0"]) == 0
    assert "skae[plot]" in capsys.readouterr().out.splitlines()[-1]


def test_too_many_components_are_left_out_with_a_line(frame, save, capsys):
    options = ["--n-components", "9", "2", "3", "2", *FAST]
    assert main([save(frame[["a", "b", "c"]]), *options]) == 0
    out = capsys.readouterr().out
    assert "n_components 9, 3 left out: must be below 3 (45 rows to fit, 3 col" in out
    assert [row[0] for row in results(out)[1 :: len(MODELS)]] == ["2"]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((100, 2), [1]), ((100, 4), [1, 2]), ((100, 8), [2, 4]), ((100, 64), [2, 8, 16])],
)
def test_the_default_counts_suit_the_table(shape, expected):
    assert choose_counts(None, *shape) == expected


def test_rows_in_a_plane_have_no_log_likelihood(frame, save, capsys):
    table = frame[["a", "b"]].assign(twin=frame["a"], constant=1.0)
    assert main([save(table), "--n-components", "1", "2", *FAST]) == 0
    rows = results(capsys.readouterr().out)[1:]
    n, exact = len(MODELS), MODELS.index("AutoencoderTransformer")
    assert [rows[n + i][-2] for i in (0, exact)] == ["-", "-"]
    assert "-" not in [row[-2] for row in rows[:n]]


def test_plain_csv_files_are_read_without_pandas(frame, save, capsys, monkeypatch):
    table = save(frame[["a", "b", "c", "kind"]])
    options = [table, "--target", "kind", "--max-iter", "0", "--no-plot"]

    def figures():
        assert main(options) == 0
        return [row[:-1] for row in results(capsys.readouterr().out)]

    with_pandas = figures()
    monkeypatch.setattr("skae._table.import_pandas", lambda: None)
    assert figures() == with_pandas


def test_pandas_may_be_missing(monkeypatch):
    from skae._table import import_pandas

    assert import_pandas() is pd
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert import_pandas() is None


NUMBERS = "".join(f"{i},{i * i},{-i}\n" for i in range(12))
IDS = "a,b\n" + "".join(f"{i},{i % 3}_{i}\n" for i in range(12))
TEXTS = "a,b,c\n" + "".join(f"{i},x{i},{i * i}\n" for i in range(12))

BAD_FILES = {
    "empty.csv": ("", [], ["empty.csv"]),
    "data.txt": ("a,b\n", [], ["data.txt", ".csv or .parquet"]),
    "bad.parquet": ("nonsense", [], ["cannot read bad.parquet"]),
    "few.csv": ("a,b\n1,2\n3,4\n", [], ["few.csv has 2 rows", "at least 10"]),
    "words.csv": (TEXTS, [], ["columns: 'b'", "'x0', in row 0 of 'b'"]),
    "word.csv": (f"a,b,c\n{NUMBERS}1,oops,2\n", [], ["'oops', in row 12 of 'b'"]),
    "underscores.csv": (IDS, [], ["columns: 'b'", "'0_0', in row 0 of 'b'"]),
    "underscore.csv": (f"a,b,c\n{NUMBERS}1,1_0,2\n", [], ["'1_0', in row 12 of 'b'"]),
    "longer.csv": (f"a,b\n{NUMBERS}", [], ["a line has 3 cells, and the first has 2"]),
    "longest.csv": (f"a\n{NUMBERS}", [], ["a line has 3 cells, and the first has 1"]),
    "extra.csv": (
        "a,b,c\n" + NUMBERS.replace("\n", ",\n") + "1,2,3,4\n",
        [],
        ["a line has 4 cells, and the first has 3"],
    ),
    "labels.csv": (TEXTS, ["--target", "b"], ["'b' has 12 different texts"]),
    "gaps.csv": (f"a,b,c\n{NUMBERS},1,2\n", [], ["missing", "nan, in row 12 of 'a'"]),
    "target-gap.csv": (
        f"a,b,c\n{NUMBERS}1,2,\n",
        ["--target", "c"],
        ["missing", "'c'", "nan, in row 12 of 'c'"],
    ),
    "infinite.csv": (f"a,b,c\n{NUMBERS}1,2,inf\n", [], ["inf, in row 12 of 'c'"]),
    "huge.csv": (f"a,b,c\n{NUMBERS}1,1e200,1\n", [], ["1e+200, in row 12 of 'b'"]),
    "one.csv": ("a,b\n" + "1,2\n" * 12, ["--target", "b"], ["'b' has only one value"]),
    "still.csv": ("a,b\n" + "1,2\n" * 12, [], ["0 columns vary"]),
    "alone.csv": ("a\n" + "1\n2\n" * 12, [], ["1 column varies"]),
    "numbered.csv": ("0,1,3\n" + NUMBERS, [], ["names of the columns", "'3'"]),
    "nameless.csv": (NUMBERS, [], ["names of the columns", "'0'"]),
    "twice.csv": ("1.5,1.5,2\n" + NUMBERS, [], ["names of the columns"]),
    "semicolons.csv": ("a;b\n" + "1;2\n" * 12, [], ["one column, 'a;b'"]),
    "target.csv": (
        f"a,b,c\n{NUMBERS}",
        ["--target", "nothing"],
        ["'nothing'", "'a', 'b', 'c'"],
    ),
    "narrow.csv": (
        f"a,b,c\n{NUMBERS}",
        ["--n-components", "3"],
        ["3: must be below 3"],
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("has_pandas", [True, False])
def test_bad_files_are_named_in_one_line(save, capsys, monkeypatch, name, has_pandas):
    content, options, culprits = BAD_FILES[name]
    with open(name, "w") as file:
        file.write(content)
    if not has_pandas:
        monkeypatch.setattr("skae._table.import_pandas", lambda: None)
    assert main([name, *options, "--no-plot"]) == 2
    check_error(capsys, culprits)


@pytest.mark.parametrize("has_pandas", [True, False])
def test_an_index_without_a_name_is_left_out(save, capsys, monkeypatch, has_pandas):
    pd.DataFrame({"a": range(12), "b": [0.0, 1.0] * 6}).to_csv("index.csv")
    if not has_pandas:
        monkeypatch.setattr("skae._table.import_pandas", lambda: None)
    table = read_table(Path("index.csv"), None)
    assert table.X.shape == (12, 2)
    assert "first column of index.csv has no name" in capsys.readouterr().out


@pytest.mark.parametrize("has_pandas", [True, False])
def test_lines_may_end_in_a_comma(save, monkeypatch, has_pandas):
    Path("commas.csv").write_text("a,b,c\n" + NUMBERS.replace("\n", ",\n"))
    if not has_pandas:
        monkeypatch.setattr("skae._table.import_pandas", lambda: None)
    table = read_table(Path("commas.csv"), "c")
    np.testing.assert_allclose(table.X, [[i, i * i] for i in range(12)])
    np.testing.assert_allclose(table.y, -np.arange(12))


@pytest.mark.parametrize("has_pandas", [True, False])
@pytest.mark.parametrize("first", [0, 1])
def test_columns_of_an_array_are_named_by_their_numbers(
    save, monkeypatch, first, has_pandas
):
    X = np.random.default_rng(0).normal(size=(12, 11))
    path = save(pd.DataFrame(X, columns=range(first, first + 11)))
    if not has_pandas:
        monkeypatch.setattr("skae._table.import_pandas", lambda: None)
    assert read_table(Path(path), None).X.shape == (12, 11)
    table = read_table(Path(path), str(first + 9))
    np.testing.assert_allclose(table.y, X[:, 9])


@pytest.mark.parametrize("has_pandas", [True, False])
def test_integers_of_any_length_are_numbers(save, monkeypatch, has_pandas):
    long = [10**30 + i * 10**28 for i in range(11)]
    path = save(pd.DataFrame({"a": [*long, None], "b": [*long, -1], "c": range(12)}))
    if not has_pandas:
        monkeypatch.setattr("skae._table.import_pandas", lambda: None)
    with pytest.raises(InputError, match=r"missing.* in 'a' .*nan, in row 11 of 'a'"):
        read_table(Path(path), None)
    save(pd.read_csv(path).drop(columns="a"))
    expected = np.array([*long, -1], dtype=float)
    np.testing.assert_allclose(read_table(Path(path), None).X[:, 0], expected)


def test_digits_in_a_column_of_text_are_text(frame, save, capsys):
    """A Parquet file says what is text."""
    frame.assign(code=[None, *"12" * 29, "3"]).to_parquet("codes.parquet")
    assert main(["codes.parquet", "--target", "kind"]) == 2
    check_error(capsys, ["non-numeric columns: 'code'", "'1', in row 1 of 'code'"])


@pytest.mark.parametrize(
    ("values", "culprits"),
    [
        ([[i, 2 * i] for i in range(60)], ["lists or records", "array([0, 0])"]),
        ([[i] for i in range(60)], ["lists or records", "array([0])"]),
        ([[0.5] * 999] * 60, ["lists or records", "array([0.5, 0.5,", "..."]),
        ([{"k": i} for i in range(60)], ["lists or records", "{'k': 0}"]),
        (pd.date_range("2024", periods=60), ["60 different Timestamps in 60 rows"]),
        (pd.date_range("2024", periods=60).date, ["60 different dates in 60 rows"]),
    ],
)
def test_odd_targets_are_called_what_they_are(frame, save, capsys, values, culprits):
    frame[["a", "b"]].assign(odd=list(values)).to_parquet("odd.parquet")
    assert main(["odd.parquet", "--target", "odd"]) == 2
    check_error(capsys, ["target 'odd'", *culprits])
    assert main(["odd.parquet"]) == 2
    check_error(capsys, ["non-numeric columns: 'odd'"])


def check_error(capsys, culprits):
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("skae: ")
    for culprit in culprits:
        assert culprit in lines[0]


@pytest.mark.parametrize(
    ("content", "problem"),
    [("a,a\n1,2\n", "the name 'a'"), ("a,b\n1,2,3\n", "a line has 3 cells")],
)
def test_odd_csv_files_are_refused_without_pandas(
    save, capsys, monkeypatch, tmp_path, content, problem
):
    (tmp_path / "odd.csv").write_text(content)
    monkeypatch.setattr("skae._table.import_pandas", lambda: None)
    assert main(["odd.csv"]) == 2
    check_error(capsys, ["odd.csv", problem])


@pytest.mark.parametrize(
    ("options", "culprits"),
    [
        (["missing.csv"], ["cannot read missing.csv: No such file"]),
        (["missing.parquet"], ["cannot read missing.parquet: No such file"]),
        (["data.csv", "--n-components", "0"], ["--n-components", "'0'"]),
        (["data.csv", "--n-components", "two"], ["--n-components", "'two'"]),
        (["data.csv", "--max-iter", "-1"], ["--max-iter"]),
        (["data.csv", "--colour"], ["--colour"]),
        (["--target", "a"], ["--target needs a table"]),
        (["data.csv", "--output", "codes.txt"], ["codes.txt", ".csv or .parquet"]),
        (["data.csv", "--output", "no/codes.csv"], ["no/codes.csv", "no folder no"]),
        (["data.csv", "--output", "folder.csv"], ["folder.csv", "it is a folder"]),
        (["data.csv", "--output", "data.csv"], ["data.csv", "the table itself"]),
        (["data.csv", "--plot", "a.doc"], ["a.doc", ".png"]),
    ],
)
def test_bad_options_are_named_in_one_line(
    frame, save, tmp_path, capsys, options, culprits
):
    save(frame[["a", "b", "c"]])
    (tmp_path / "folder.csv").mkdir()
    assert main(options) == 2
    check_error(capsys, culprits)


def test_a_full_disk_is_an_error_in_one_line(frame, save, capsys, monkeypatch):
    def savetxt(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savetxt", savetxt)
    options = ["--output", "codes.csv", "--max-iter", "0", "--no-plot"]
    assert main([save(frame[["a", "b", "c"]]), *options]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "skae: cannot write codes.csv: No space left on device"


def test_a_terminal_gets_one_line_that_changes(frame, save, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main([save(frame[["a", "b", "c"]]), *FAST]) == 0
    err = capsys.readouterr().err
    assert "\n" not in err
    assert err.count("\r[") == 2 * len(MODELS)
    assert err.endswith(" \r")


def test_ctrl_c_ends_the_command_with_130(save, capsys, monkeypatch):
    def interrupt(self, X, y=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(skae.AutoencoderTransformer, "fit", interrupt)
    assert main(["--no-plot"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "skae: interrupted"


def test_the_package_runs_as_a_command():
    command = [sys.executable, "-m", "skae", "--target", "a"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("skae: --target needs a table")


def test_a_pipe_is_no_table(tmp_path, capsys):
    """Whoever waits for it to be written waits for ever."""
    os.mkfifo(tmp_path / "pipe.csv")
    assert main([str(tmp_path / "pipe.csv")]) == 2
    assert "pipe.csv: it is a folder or a pipe" in capsys.readouterr().err


def test_no_matrix_of_all_pairs_of_columns_is_made(save, frame, capsys, monkeypatch):
    """PCA's own score makes one: 26.8 GiB where there are 60,000 columns."""
    table = frame[["a", "b", "c"]]
    expected = PCA(1).fit(table)
    monkeypatch.setattr(PCA, "get_precision", lambda self: 1 / 0)
    assert main([save(table), "--n-components", "1", *FAST]) == 0
    assert results(capsys.readouterr().out)[1][1] == "PCA"
    monkeypatch.undo()
    scores = as_start(expected).score_samples(table.to_numpy())
    np.testing.assert_allclose(scores, expected.score_samples(table))
