"""Reads statistics in an object store as other programs do: Spark with Delta's own library, and DuckDB.

    python tests/readers/object_store.py s3://bucket/prefix http://127.0.0.1:5000

prints, for each table below `prefix/statistics` and for `prefix/ledger/releases`, how many rows each program finds, and
the first three; it ends with 1 where the two differ. The key is that of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

Needs Java 17 and `pip install pyspark==3.5.3 duckdb==1.5.5 duckdb-extension-delta==1.5.5 duckdb-extension-httpfs==1.5.5
boto3`; Spark fetches Delta and the S3 client from Maven (some 300 MB, once). It takes about 1.5 GB of memory, which is why
it is no step of `cargo xtask test`.
"""

import os
import pathlib
import sys
import sysconfig

import boto3
import duckdb
from pyspark.sql import SparkSession

PACKAGES = "io.delta:delta-spark_2.12:3.2.1,org.apache.hadoop:hadoop-aws:3.3.4"


def tables(bucket, prefix, endpoint):
    """Names of the tables below the prefix."""
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return sorted({key.split("/_delta_log/")[0] for key in keys if "/_delta_log/" in key})


def spark_session(endpoint):
    """A Spark of one core that knows Delta and the store."""
    builder = SparkSession.builder.master("local[1]").config("spark.jars.packages", PACKAGES)
    settings = {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.hadoop.fs.s3a.endpoint": endpoint,
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": str(endpoint.startswith("https")).lower(),
        "spark.hadoop.fs.s3a.access.key": os.environ["AWS_ACCESS_KEY_ID"],
        "spark.hadoop.fs.s3a.secret.key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "spark.sql.shuffle.partitions": "1",
        "spark.ui.enabled": "false",
        "spark.driver.memory": "1g",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def duck_session(endpoint):
    """DuckDB with its Delta reader, from the packages on this machine."""
    duck = duckdb.connect()
    for kind in ("httpfs", "delta"):
        found = pathlib.Path(sysconfig.get_path("purelib")).rglob(f"{kind}.duckdb_extension")
        duck.load_extension(str(next(found)))
    host = endpoint.split("://")[1]
    duck.sql(f"""create secret (type s3, key_id '{os.environ["AWS_ACCESS_KEY_ID"]}',
        secret '{os.environ["AWS_SECRET_ACCESS_KEY"]}', region 'us-east-1', endpoint '{host}',
        url_style 'path', use_ssl {str(endpoint.startswith("https")).lower()})""")
    return duck


def main():
    url, endpoint = sys.argv[1:]
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    spark, duck = spark_session(endpoint), duck_session(endpoint)
    differ = False
    for table in tables(bucket, prefix, endpoint):
        by_spark = spark.read.format("delta").load(f"s3a://{bucket}/{table}")
        by_duck = duck.sql(f"select * from delta_scan('s3://{bucket}/{table}')")
        counts = by_spark.count(), by_duck.aggregate("count(*)").fetchone()[0]
        differ |= counts[0] != counts[1]
        print(f"{table}: {counts[0]} rows by Spark, {counts[1]} by DuckDB")
        by_spark.show(3, truncate=40)
        print(by_duck.limit(3))
    sys.exit(int(differ))


if __name__ == "__main__":
    main()
