"""Which cells each table has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from paper.methods import CLEAN, METHODS, NOISE, OTHERS, OURS, PIXELWISE
from paper.published import PUBLISHED
from paper.specs import Data, Protection, Victim
from paper.table import Cells, Column, Sets, Table
from paper.victims import ALONE, AS_MANY_STEPS, DEFENSES, WEIGHTINGS


def _multi(data: Data, method: str, seed: int, **options: object) -> list[Victim]:
    return [replace(Victim(Protection(data, method, seed)), **options)]  # type: ignore[arg-type]  # names of fields


def _singles(data: Data, method: str, seed: int, tasks: Sequence[str], **options: object) -> list[Victim]:
    return [replace(Victim(Protection(data, method, seed), task=task), **options) for task in tasks]  # type: ignore[arg-type]


def _changed(victims: Sequence[Victim], **changes: object) -> list[Victim]:
    """The victims on another protection; clean images have none to change."""
    return [
        victim if victim.protection.method == CLEAN else replace(victim, protection=replace(victim.protection, **changes))  # type: ignore[arg-type]
        for victim in victims
    ]


def make_tables(
    sets: Sets, *, added: Sequence[str] = (), backbones: Sequence[str] = (), own_backbones: Sequence[str] = ()
) -> dict[str, Table]:
    """All tables and figures of classification, by name.

    Args:
        sets: The sets.
        added: Methods of the caller.
        backbones: Backbones of victims beside the surrogate's.
        own_backbones: Victims of the caller.
    """
    few, binary, main = Data(sets.few), Data(sets.binary), Data(sets.main)
    methods = (CLEAN, NOISE, *METHODS, *added)
    all_methods = (CLEAN, NOISE, *METHODS, *OTHERS, *added)
    ours = (*OURS, *added)
    # Where there are many columns, some of the patterns and of the searches stand for the others.
    some = (CLEAN, NOISE, "AR (patch)", "EM", "TAP", *ours)
    tables = [
        _table_2(binary, few, sets, all_methods),
        _table_3(binary, few, methods),
        _table_5(main, some, sets.main_tasks, (*backbones, *own_backbones)),
        _table_6(main, sets.main_tasks, ours),
        _table_7(main, sets.main_tasks, ours),
        _table_8(few, sets.few_tasks),
        _table_9(few),
        _table_10(few, sets.few_tasks, methods),
        _table_11(main, sets.main_tasks, ours),
        _table_12(few, all_methods),
        _figure_5(binary, some, sets.single),
    ]
    return {table.name: table for table in tables}


def _table_2(binary: Data, few: Data, sets: Sets, methods: Sequence[str]) -> Table:
    def multi(data: Data) -> Cells:
        return lambda method, seed: _multi(data, method, seed)

    def single(data: Data, tasks: Sequence[str]) -> Cells:
        return lambda method, seed: _singles(data, method, seed, tasks)

    columns = [
        Column(f"{few.name} MTL", multi(few), paper=PUBLISHED["utkface MTL"], paper_set="UTKFace"),
        *(Column(f"MTL {task}", multi(few), (task,)) for task in sets.few_tasks),
        Column(f"{few.name} STL", single(few, sets.few_tasks), paper=PUBLISHED["utkface STL"], paper_set="UTKFace"),
        *(Column(f"STL {task}", single(few, (task,))) for task in sets.few_tasks),
        Column(f"{binary.name} MTL", multi(binary), paper=PUBLISHED["celeba MTL"]),
        Column(f"{binary.name} MTL, the tasks of STL", multi(binary), sets.single),
        Column(f"{binary.name} STL", single(binary, sets.single), paper=PUBLISHED["celeba STL"]),
    ]
    return Table("2", "Classification sets", methods, columns)


def _table_3(binary: Data, few: Data, methods: Sequence[str]) -> Table:
    columns = [
        Column(
            f"{data.name} {figure}",
            lambda method, seed, data=data: _multi(data, method, seed),  # type: ignore[misc]  # mypy types no default of a lambda
            figure=figure,
            paper=PUBLISHED[f"deviation {figure}"] if data is binary else {},
        )
        for data in (binary, few)
        for figure in ("mean", "largest")
    ]
    return Table("3", "Relative intra-class deviation of a victim's features", methods, columns)


def _table_5(few: Data, methods: Sequence[str], tasks: Sequence[str], backbones: Sequence[str]) -> Table:
    def cells(**options: object) -> Cells:
        return lambda method, seed: _multi(few, method, seed, **options)

    def single(name: str) -> Cells:
        return lambda method, seed: _singles(few, method, seed, tasks[:1], backbone=name)

    columns = [
        Column("MTL, as the surrogate", cells(), paper=PUBLISHED["celeba MTL"]),
        *(Column(f"MTL {name}", cells(backbone=name)) for name in backbones),
        *(Column(f"STL {tasks[0]} {name}", single(name)) for name in backbones),
        *(Column(name, cells(weighting=name)) for name in WEIGHTINGS if name != "uniform"),
        *(Column(name, cells(architecture=name)) for name in ("cross-stitch", "mtan", "ltb")),
    ]
    return Table("5", "Transfer to other backbones, weightings and architectures", methods, columns)


def _pair(few: Data, tasks: Sequence[str], **changes: object) -> tuple[Cells, Cells]:
    return (
        lambda method, seed: _changed(_multi(few, method, seed), **changes),
        lambda method, seed: _changed(_singles(few, method, seed, tasks), **changes),
    )


def _table_6(few: Data, tasks: Sequence[str], ours: Sequence[str]) -> Table:
    columns = []
    for levels in (8, 6, 4, 2):
        multi, single = _pair(few, tasks, levels=levels)
        columns += [
            Column(f"{levels}/255 MTL", multi, paper=PUBLISHED[f"{levels}/255 MTL"]),
            Column(f"{levels}/255 STL", single, paper=PUBLISHED[f"{levels}/255 STL"]),
        ]
    return Table("6", "Smaller budgets", (CLEAN, NOISE, *ours), columns)


_ABLATIONS = {
    "base, pixel by pixel": None,
    "no embeddings": {"variant": "no embeddings"},
    "no latent": {"variant": "no latent"},
    "no intra-ER": {"lambda_intra": 0.0},
    "no inter-ER": {"lambda_inter": 0.0},
    "MTL-UE": {},
}


def _settings_table(
    name: str,
    title: str,
    few: Data,
    tasks: Sequence[str],
    ours: Sequence[str],
    settings: Mapping[str, Mapping[str, object] | None],
) -> Table:
    """A row for each setting of the generator, columns for each base loss; clean and noise have one value for all."""

    def victims(row: str, seed: int, method: str, alone: Sequence[str] | None) -> list[Victim]:
        changes = {} if row in {CLEAN, NOISE} else settings[row]
        if row in {CLEAN, NOISE}:
            method = row
        elif changes is None:
            method = method.removeprefix("MTL-UE-")
            if method not in PIXELWISE:
                return []
        found = _multi(few, method, seed) if alone is None else _singles(few, method, seed, alone)
        return _changed(found, **(changes or {}))

    columns = [
        Column(
            f"{kind} {method.removeprefix('MTL-UE-')}",
            lambda row, seed, method=method, alone=alone: victims(row, seed, method, alone),  # type: ignore[misc]
            paper=PUBLISHED.get(f"{name} {kind} {method.removeprefix('MTL-UE-')}", {}),
        )
        for kind, alone in (("MTL", None), ("STL", tasks))
        for method in ours
    ]
    return Table(name, title, (CLEAN, NOISE, *settings), columns)


def _table_7(few: Data, tasks: Sequence[str], ours: Sequence[str]) -> Table:
    return _settings_table("7", "Parts of the generator", few, tasks, ours, _ABLATIONS)


def _table_11(few: Data, tasks: Sequence[str], ours: Sequence[str]) -> Table:
    weights = ((2.0, 100.0), (200.0, 100.0), (20.0, 10.0), (20.0, 1000.0), (20.0, 100.0))
    settings = {f"intra {intra:g}, inter {inter:g}": {"lambda_intra": intra, "lambda_inter": inter} for intra, inter in weights}
    return _settings_table("11", "Weights of the regularisers", few, tasks, ours, settings)


def _table_8(few: Data, tasks: Sequence[str]) -> Table:
    pairs = ((tasks[0], tasks[1]), (tasks[0], tasks[2]), (tasks[1], tasks[2]))
    kept = {", ".join(pair): {"protected": pair} for pair in pairs}

    def victims(row: str, seed: int, task: str, alone: bool) -> list[Victim]:
        method = row if row in {CLEAN, NOISE} else "MTL-UE-SEP"
        found = _singles(few, method, seed, (task,)) if alone else _multi(few, method, seed)
        return _changed(found, **kept.get(row, {}))

    columns = [
        Column(
            f"{kind} {task}",
            lambda row, seed, task=task, alone=alone: victims(row, seed, task, alone),  # type: ignore[misc]
            (task,),
        )
        for kind, alone in (("MTL", False), ("STL", True))
        for task in tasks
    ]
    return Table("8", "Which tasks are protected (MTL-UE-SEP)", (CLEAN, NOISE, *kept, "all"), columns)


def _table_9(few: Data) -> Table:
    def victims(row: str, seed: int, share: float, rest_only: bool) -> list[Victim]:
        if row == CLEAN:
            return _multi(few, CLEAN, seed)
        if rest_only and share == 1.0:
            return []
        if row == NOISE:
            return _multi(few, NOISE, seed) if share == 1.0 else []
        options = {"defense": AS_MANY_STEPS} if rest_only else {}
        return _changed(_multi(few, "MTL-UE-SEP", seed, **options), fraction=share, rest_only=rest_only)

    columns = [
        Column(
            f"{100 * share:.0f} % {'left out' if rest_only else 'protected'}",
            lambda row, seed, share=share, rest_only=rest_only: victims(row, seed, share, rest_only),  # type: ignore[misc]
        )
        for share in (0.2, 0.4, 0.6, 0.8, 1.0)
        for rest_only in (False, True)
        if not (rest_only and share == 1.0)
    ]
    title = "Share of the samples that is protected, classification (MTL-UE-SEP)"
    return Table("9 classes", title, (CLEAN, NOISE, "MTL-UE-SEP"), columns)


def _table_10(few: Data, tasks: Sequence[str], methods: Sequence[str]) -> Table:
    columns = []
    for count in range(1, len(tasks) + 1):
        data = Data(few.name, tuple(tasks[:count]) if count < len(tasks) else ())
        multi, single = _pair(data, tasks[:count])
        columns.append(
            Column(
                f"{count} task{'s' if count > 1 else ''} MTL", multi, paper=PUBLISHED[f"{count} tasks MTL"], paper_set="UTKFace"
            )
        )
        if count > 1:
            columns.append(Column(f"{count} tasks STL", single, paper=PUBLISHED[f"{count} tasks STL"], paper_set="UTKFace"))
    return Table("10", "How many tasks there are", methods, columns)


def _table_12(few: Data, methods: Sequence[str]) -> Table:
    def victims(method: str, seed: int, name: str) -> list[Victim]:
        # Without the protected images there is nothing that a method could change.
        return [] if name == ALONE and method != CLEAN else _multi(few, method, seed, defense=name)

    columns = [
        Column(
            name,
            lambda method, seed, name=name: victims(method, seed, name),  # type: ignore[misc]
            paper=PUBLISHED.get(f"defense {name}", {}),
            paper_set="UTKFace",
        )
        for name in DEFENSES
    ]
    return Table("12", "Defences, multi-task victims", methods, columns)


def _figure_5(binary: Data, methods: Sequence[str], tasks: Sequence[str]) -> Table:
    """Figures 2 and 5; the first tasks are those that have single-task victims."""
    from paper.readers import order_of_tasks

    everything = order_of_tasks(binary.name, tasks)
    columns = []
    for count in (2, 6, len(everything)):
        data = Data(binary.name, everything[:count] if count < len(everything) else ())
        multi, single = _pair(data, tasks[:1])
        columns += [Column(f"{count} tasks MTL", multi), Column(f"{count} tasks STL {tasks[0]}", single)]
    return Table("figure 5", "Accuracy against the number of tasks (figures 2 and 5)", methods, columns)
