import SwanDistributed
import SwanSystem
import Testing
import Torch

@Suite struct ProcessGroupTests {
    /// On a machine without NCCL or a GPU, the error says what to install, or what is missing.
    @Test func groupsOfGPUsNeedThem() throws {
        guard try Engine.gpuCount() == 0 else { return }
        let store = try StoreService.open(
            "127.0.0.1",
            port: 0,
            isLocal: true,
            deadline: .seconds(5)
        ).store
        let error = #expect(throws: SwanError.self) {
            _ = try ProcessGroup(
                store,
                rank: 0,
                size: 1,
                device: .cuda(0),
                address: "127.0.0.1",
                deadline: .seconds(1)
            )
        }
        #expect(error?.message.contains("bootstrap --cuda") == true)
    }

    /// One process is a group, too: what it exchanges with itself stays the same.
    @Test func oneProcess() throws {
        let store = try StoreService.open(
            "127.0.0.1",
            port: 0,
            isLocal: true,
            deadline: .seconds(5)
        ).store
        let device: Device = try Engine.gpuCount() > 0 ? .cuda(0) : .cpu
        let group = try ProcessGroup(
            store,
            rank: 0,
            size: 1,
            device: device,
            address: "127.0.0.1",
            deadline: .seconds(20)
        )
        let x = try Tensor([1, 2, 3] as [Float], [3]).to(device)
        try group.reduce(x)
        try group.broadcast(x, from: 0)
        try group.barrier()
        #expect(try x.to(.cpu).array(of: Float.self) == [1, 2, 3])
    }
}
