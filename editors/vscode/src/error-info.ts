// google.rpc.ErrorInfo, by which the daemon's errors are told apart: its descriptor is made here, as no package carries it.
import { createRegistry } from "@bufbuild/protobuf";
import { FieldDescriptorProto_Label, FieldDescriptorProto_Type, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { create, createFileRegistry, type DescMessage, type Message } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";

type ErrorInfoMessage = Message<"google.rpc.ErrorInfo"> & { reason: string; domain: string; metadata: Record<string, string> };

const text = (name: string, number: number) => ({
  name,
  number,
  label: FieldDescriptorProto_Label.OPTIONAL,
  type: FieldDescriptorProto_Type.STRING,
});

const file = create(FileDescriptorProtoSchema, {
  name: "google/rpc/error_details.proto",
  package: "google.rpc",
  syntax: "proto3",
  messageType: [
    {
      name: "ErrorInfo",
      field: [
        text("reason", 1),
        text("domain", 2),
        {
          name: "metadata",
          number: 3,
          label: FieldDescriptorProto_Label.REPEATED,
          type: FieldDescriptorProto_Type.MESSAGE,
          typeName: ".google.rpc.ErrorInfo.MetadataEntry",
        },
      ],
      nestedType: [{ name: "MetadataEntry", options: { mapEntry: true }, field: [text("key", 1), text("value", 2)] }],
    },
  ],
});

const found: DescMessage = createFileRegistry(file, () => undefined).getMessage("google.rpc.ErrorInfo")!;

export const ErrorInfo = found as GenMessage<ErrorInfoMessage>;
export const registry = createRegistry(found);
