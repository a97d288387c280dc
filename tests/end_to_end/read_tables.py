"""Reads every Delta table below a folder with deltalake and with DuckDB, and prints counts as JSON."""

import json
import pathlib
import sys

import duckdb
import pyarrow.parquet
from deltalake import DeltaTable


def read(folder):
    table = DeltaTable(folder)
    rows = table.to_pyarrow_dataset()
    files = table.file_uris()
    footers = [pyarrow.parquet.ParquetFile(file).metadata for file in files]
    chunks = [
        footer.row_group(group).column(column)
        for footer in footers
        for group in range(footer.num_row_groups)
        for column in range(footer.num_columns)
    ]
    return {
        "deltalake": table.to_pyarrow_table().num_rows,
        "duckdb": duckdb.sql("select count(*) from rows").fetchall()[0][0],
        "columns": rows.schema.names,
        "files": len(files),
        "reader_version": table.protocol().min_reader_version,
        "statistics_of_columns": any(chunk.is_stats_set for chunk in chunks),
    }


root = pathlib.Path(sys.argv[1])
tables = sorted(log.parent for log in root.glob("*/*/_delta_log"))
print(json.dumps({str(table.relative_to(root)): read(table) for table in tables}))
