"""``departments list``, ``create`` and ``delete``."""

from __future__ import annotations

from uuid import UUID, uuid4

import click
from rich.table import Table

from ..asks.tenants import DeleteDepartment, Department, ListDepartments, PutDepartment
from . import params
from .catalog import accounts, tenant_of
from .common import Chosen, chosen, examples, json_line, run, stderr, stdout

_tenant = click.option("--tenant", "-t", required=True, metavar="SLUG", help="Whose departments.")


@click.group()
def departments() -> None:
    """The parts of an account that its calls belong to."""


@departments.command(
    name="list",
    epilog=examples(
        "recording-gateway departments list -t acme", "recording-gateway departments list -t acme --json | jq -r .id"
    ),
)
@_tenant
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@chosen
def list_(choice: Chosen, *, tenant: str, as_json: bool) -> None:
    """A tenant's departments, by name."""
    config = choice.load()

    async def work() -> list[Department]:
        async with accounts(config) as (_, own, asked):
            return await own.list((await tenant_of(asked, tenant)).id, ListDepartments())

    found = run(work())
    if as_json:
        for department in found:
            click.echo(json_line(department))
        return
    table = Table("id", "name", "created", box=None, pad_edge=False)
    for department in found:
        table.add_row(str(department.id), department.name, f"{department.created_at:%Y-%m-%d}")
    stdout().print(table)


@departments.command(
    epilog=examples(
        "recording-gateway departments create -t acme Sales",
        "recording-gateway departments create -t acme --id 7c1f7a52-0d6f-4be0-8c0d-e9a52d6f5be0 Support",
    )
)
@_tenant
@click.option("--id", "id_", type=click.UUID, help="Its id; without one it gets one. One that is there is renamed.")
@click.argument("name", type=params.name)
@chosen
def create(choice: Chosen, *, tenant: str, id_: UUID | None, name: str) -> None:
    """Make the department NAME and print its id."""
    config = choice.load()

    async def work() -> Department:
        async with accounts(config) as (_, own, asked):
            owner = await tenant_of(asked, tenant)
            return (await own.put(owner.id, PutDepartment(id_ or uuid4(), name))).department

    click.echo(str(run(work()).id))


@departments.command(
    epilog=examples("recording-gateway departments delete -t acme 7c1f7a52-0d6f-4be0-8c0d-e9a52d6f5be0")
)
@_tenant
@click.argument("department", type=params.id_of("department", "departments list"))
@chosen
def delete(choice: Chosen, *, tenant: str, department: UUID) -> None:
    """Delete a department by its id: refused while one of its calls has a recording."""
    config = choice.load()

    async def work() -> None:
        async with accounts(config) as (_, own, asked):
            await own.delete((await tenant_of(asked, tenant)).id, DeleteDepartment(department))

    run(work())
    stderr().print(f"department {department} of {tenant}: deleted")
