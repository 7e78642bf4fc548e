"""The wire's manners: conversion, status, the one boundary, interceptors, server and channel."""
