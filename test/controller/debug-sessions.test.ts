import assert from 'node:assert/strict';
import { debugNews, debugVerdict } from '../../controller/debug-sessions.ts';

describe('debugVerdict', () => {
  it('says nothing of a container that was never debugged', () => assert.equal(debugVerdict(0, false), undefined));
  it('tells of one and of several', () => {
    assert.match(debugVerdict(1, false)?.message ?? '', /^a debug session is open/);
    assert.match(debugVerdict(2, true)?.message ?? '', /^2 debug sessions are open/);
    assert.equal(debugVerdict(2, true)?.status, 'True');
  });
  it('tells that there was one', () => assert.equal(debugVerdict(0, true)?.status, 'False'));
});

describe('debugNews', () => {
  it('is none when their number is the same', () => assert.equal(debugNews(1, 1), undefined));
  it('tells of one that begins and of one that ends', () => {
    assert.deepEqual(debugNews(0, 1), {
      reason: 'DebugSessionStarted',
      message: 'a debug session of the container has begun; one is open now',
    });
    assert.deepEqual(debugNews(2, 0), {
      reason: 'DebugSessionEnded',
      message: 'a debug session of the container has ended; none is open now',
    });
  });
});
